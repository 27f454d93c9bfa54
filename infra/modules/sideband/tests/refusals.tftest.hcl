# What cannot run is refused by the plan, with a sentence, and not by Google or a process hours later. Every provider is a
# stand-in: no cloud is asked.

mock_provider "google" {}
mock_provider "archive" {}

override_data {
  target = data.google_project.this
  values = { number = "123456789012" }
}

variables {
  project_id            = "a-project"
  region                = "europe-west4"
  openai_api_key        = "sk-never-in-a-state"
  openai_webhook_secret = "whsec_bmV2ZXIgaW4gYSBzdGF0ZQ=="
  supervisor_image      = "europe-west4-docker.pkg.dev/a-project/sideband/supervisor@sha256:0123"
}

run "too_little" {
  command = plan
  variables {
    alerts                = { usd_per_hour = 0 }
    autoscaling           = { min_instances = 0, max_instances = 0 }
    function              = { concurrency = 3 }
    name                  = "abc"
    openai_api_key        = ""
    openai_webhook_secret = ""
    project_id            = ""
    region                = ""
    supervisor            = { lease_seconds = 5 }
  }
  expect_failures = [
    var.alerts, var.autoscaling, var.function, var.name, var.openai_api_key, var.openai_webhook_secret, var.project_id,
    var.region, var.supervisor,
  ]
}

run "too_much" {
  command = plan
  variables {
    autoscaling           = { min_instances = 10, max_instances = 2 }
    function              = { min_instances = 20, max_instances = 10 }
    labels                = { team = "a-value-that-is-longer-than-the-sixty-three-characters-of-a-label" }
    name                  = "a-name-that-is-far-too-long"
    openai_api_key        = "sk-never in-a-state"
    openai_webhook_secret = "whsec_bmV2ZXIgaW4gYSBzdGF0ZQ==,whsec_bmV2ZXIgaW4gYSBzdGF0ZQ=="
    region                = "europe-west4-a"
    supervisor            = { lease_seconds = 700 }
  }
  expect_failures = [
    var.autoscaling, var.function, var.labels, var.name, var.openai_api_key, var.openai_webhook_secret, var.region,
    var.supervisor,
  ]
}

run "more_than_threads_or_memory_there_can_be" {
  command = plan
  variables {
    function   = { concurrency = 2000 }
    supervisor = { memory_mib = 8192 }
  }
  expect_failures = [var.function, var.supervisor]
}

run "too_little_memory" {
  command = plan
  variables {
    function   = { memory_mib = 128 }
    supervisor = { memory_mib = 256 }
  }
  expect_failures = [var.function, var.supervisor]
}

run "no_such_size" {
  command = plan
  variables {
    autoscaling     = { min_instances = 1.5 }
    function        = { cpu = 0.5 }
    secret_versions = { openai_api_key = 1.5 }
    supervisor      = { cpu = 3 }
  }
  expect_failures = [var.autoscaling, var.function, var.secret_versions, var.supervisor]
}

run "no_whole_number" {
  command = plan
  variables {
    secret_versions = { openai_api_key = -1 }
    supervisor      = { lease_seconds = 12.5 }
  }
  expect_failures = [var.secret_versions, var.supervisor]
}

run "malformed" {
  command = plan
  variables {
    agent                 = "examples/bikes.py"
    alerts                = { notification_channels = ["me@shop.example"] }
    browsers              = { allowed_origins = ["*"] }
    labels                = { Team = "phones" }
    name                  = "sideband-"
    openai                = { base_url = "api.openai.com/v1" }
    openai_webhook_secret = "not-a-whsec"
    project_id            = "My Project"
    region                = "eu"
    transfer_targets      = ["tel:+3120*", "+31201234567"]
  }
  expect_failures = [
    var.agent, var.alerts, var.browsers, var.labels, var.name, var.openai, var.openai_webhook_secret, var.project_id,
    var.region, var.transfer_targets,
  ]
}

run "nearly_right" {
  command = plan
  variables {
    agent                 = "examples.bikes"
    alerts                = { runbook_url = "docs/runbook.md" }
    browsers              = { allowed_origins = ["https://shop.example/"] }
    openai                = { base_url = "https://api.openai.com" }
    openai_webhook_secret = "whsec_bmV2ZXIgaW4gYSBzdGF0Z"
    transfer_targets      = ["tel:+31 20 1234567"]
  }
  expect_failures = [
    var.agent, var.alerts, var.browsers, var.openai, var.openai_webhook_secret, var.transfer_targets,
  ]
}

run "secrets_that_are_missing_and_targets_that_nothing_matches" {
  command = plan
  variables {
    openai_api_key        = null
    openai_webhook_secret = null
    transfer_targets      = ["sip:pbx.example.com"]
  }
  expect_failures = [var.openai_api_key, var.openai_webhook_secret, var.transfer_targets]
}

run "a_token_secret_that_is_missing" {
  command = plan
  variables {
    browsers = { allowed_origins = ["https://shop.example"] }
  }
  expect_failures = [var.token_secret]
}

run "a_token_secret_that_is_short" {
  command = plan
  variables {
    browsers     = { allowed_origins = ["http://localhost:8080"] }
    token_secret = "short"
  }
  expect_failures = [var.token_secret]
}

run "an_agent_that_is_not_here" {
  command = plan
  variables {
    agent            = "nowhere.to.be.found:agent"
    source_code      = { folder = "../../..", dockerfile = "supervisor/Dockerfile" }
    supervisor_image = null
  }
  expect_failures = [terraform_data.first_image]
}

run "no_image_and_nothing_to_build_one_from" {
  command = plan
  variables {
    supervisor_image = null
  }
  expect_failures = [terraform_data.first_image]
}

run "a_folder_without_a_dockerfile" {
  command = plan
  variables {
    source_code      = { folder = "../../.." }
    supervisor_image = null
  }
  expect_failures = [terraform_data.first_image]
}

run "calls_from_browsers_without_sessions" {
  command = plan
  variables {
    browsers     = { allowed_origins = ["https://shop.example"] }
    source_code  = { folder = "../../../infra" }
    token_secret = "never-in-a-state-never-in-a-state"
  }
  expect_failures = [google_cloud_run_v2_service.function]
}
