# What variables change, and what they refuse. Every provider is a stand-in: no cloud is asked.

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
  token_secret          = "never-in-a-state-never-in-a-state"
  supervisor_image      = "europe-west4-docker.pkg.dev/a-project/sideband/supervisor@sha256:0123"
}

run "small_memory_bounds_the_calls" {
  command = plan
  variables {
    supervisor = { cpu = 2, memory_mib = 512 }
  }
  assert {
    condition     = local.max_calls == 192
    error_message = "MAX_CALLS follows from CPU and memory, whichever is less."
  }
}

run "no_supervisor_too_small_for_a_call" {
  command = plan
  variables {
    supervisor = { memory_mib = 256 }
  }
  expect_failures = [google_cloud_run_v2_worker_pool.supervisor]
}

run "secret_versions_may_come_from_elsewhere" {
  command = plan
  variables {
    secret_versions = { openai_api_key = 0, openai_webhook_secret = 0 }
  }
  assert {
    condition     = length(google_secret_manager_secret_version.openai_api_key) + length(google_secret_manager_secret_version.openai_webhook_secret) == 0
    error_message = "0 leaves a secret's versions alone."
  }
}

run "the_first_image_is_built_by_the_first_apply" {
  command = plan
  variables {
    supervisor_image = null
  }
  assert {
    condition     = length(terraform_data.first_image) == 1
    error_message = "Without an image given, one is built."
  }
}

run "live_calls_are_what_scales" {
  command   = apply
  state_key = "autoscaled"
  variables {
    autoscaling = { min_instances = 3, max_instances = 9 }
  }
  assert {
    condition = alltrue([
      for word in ["num_undelivered_messages", "sideband-claims", "sideband_calls", "max("] :
      strcontains(module.autoscaling[0].config, word)
    ])
    error_message = "The greater of unacknowledged notices and calls in hand."
  }
  assert {
    condition     = yamldecode(module.autoscaling[0].config).spec.scaledObjects[0].spec.triggers[0].metadata.threshold == "140"
    error_message = "Head-room of 30 %."
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool.supervisor.scaling[0].manual_instance_count == 3
    error_message = "It begins with the least."
  }
}

run "pushes_are_built_when_asked_for" {
  command = apply
  variables {
    build_trigger = { repository = "projects/a-project/locations/europe-west4/connections/github/repositories/shop" }
  }
  assert {
    condition     = google_cloudbuild_trigger.push[0].service_account == google_service_account.build.id && google_cloudbuild_trigger.push[0].filename == "cloudbuild.yaml"
    error_message = "Builds run as the build account."
  }
}

run "names_are_short_enough_for_accounts" {
  command = plan
  variables {
    name = "a-name-that-is-far-too-long"
  }
  expect_failures = [var.name]
}

run "a_transfer_target_that_matches_nothing_is_refused" {
  command = plan
  variables {
    transfer_targets = ["tel:+3120*", "+31201234567"]
  }
  expect_failures = [var.transfer_targets]
}

run "an_agent_is_module_and_attribute" {
  command = plan
  variables {
    agent = "examples/bikes.py"
  }
  expect_failures = [var.agent]
}

run "browsers_need_the_agents_sessions" {
  command = plan
  variables {
    browsers = { allowed_origins = ["https://shop.example"] }
  }
  expect_failures = [google_cloud_run_v2_service.function]
}

run "browsers_by_keys_that_are_published_share_no_secret" {
  command = plan
  variables {
    browsers = { allowed_origins = ["https://shop.example"], token_jwks_url = "https://shop.example/keys" }
  }
  assert {
    condition     = length(google_secret_manager_secret_iam_member.function_reads_token_secret) == 0 && length(google_secret_manager_secret_iam_member.function_makes_calls) == 1
    error_message = "The function reads what it needs and no more."
  }
  expect_failures = [google_cloud_run_v2_service.function]
}
