# What variables change; what they refuse is in refusals. Every provider is a stand-in: no cloud is asked.

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

run "secret_versions_may_come_from_elsewhere" {
  command = plan
  variables {
    openai_api_key        = null
    openai_webhook_secret = null
    secret_versions       = { openai_api_key = 0, openai_webhook_secret = 0 }
  }
  assert {
    condition     = length(google_secret_manager_secret_version.openai_api_key) + length(google_secret_manager_secret_version.openai_webhook_secret) == 0
    error_message = "0 leaves a secret's versions alone."
  }
}

run "the_first_image_is_built_by_the_first_apply" {
  command = plan
  variables {
    source_code      = { folder = "../../..", dockerfile = "supervisor/Dockerfile" }
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

run "labels_and_project_are_set_by_the_module" {
  command = plan
  variables {
    labels = { team = "phones" }
  }
  assert {
    condition     = google_pubsub_topic.calls.labels == tomap({ app = "sideband", team = "phones" }) && google_pubsub_topic.calls.project == "a-project"
    error_message = "The module says itself where things are made and how they are labelled: its caller's provider may be set otherwise."
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

run "what_the_supervisor_takes_is_taken" {
  command = plan
  variables {
    agent            = "examples.reception:agent"
    name             = "four"
    openai           = { base_url = "https://eu.api.openai.com/v1" }
    project_id       = "shop.example:a-project"
    supervisor       = { cpu = 8, lease_seconds = 600, memory_mib = 32768 }
    transfer_targets = ["*", "tel:*", "tel:+3120*", "tel:[+]31201234567", "sip:*@pbx.example.com", "sips:desk@pbx.example.com:5061"]
  }
  assert {
    condition     = local.supervisor_environment["TRANSFER_TARGETS"] == "* tel:* tel:+3120* tel:[+]31201234567 sip:*@pbx.example.com sips:desk@pbx.example.com:5061"
    error_message = "Patterns reach the supervisor as they are written."
  }
}

run "alerts_tell_whom_they_are_told_to_and_link_to_the_runbook" {
  command = plan
  variables {
    alerts = {
      notification_channels = ["projects/a-project/notificationChannels/123"]
      runbook_url           = "https://wiki.example/runbook"
    }
  }
  assert {
    condition     = alltrue([for alert in google_monitoring_alert_policy.this : alert.notification_channels == tolist(["projects/a-project/notificationChannels/123"])])
    error_message = "Every alert tells somebody."
  }
  assert {
    condition     = google_monitoring_alert_policy.this["Dead letters"].documentation[0].links[0].url == "https://wiki.example/runbook#dead-letters"
    error_message = "The link is of the alert's section."
  }
}
