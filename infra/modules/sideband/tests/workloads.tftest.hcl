# What runs, as whom, and what it is told. Every provider is a stand-in: no cloud is asked.

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

run "only_the_function_is_public" {
  command = apply

  assert {
    condition     = google_cloud_run_v2_service.function.invoker_iam_disabled && google_cloud_run_v2_service.function.ingress == "INGRESS_TRAFFIC_ALL"
    error_message = "OpenAI must reach the function."
  }
  assert {
    condition     = google_storage_bucket.source.public_access_prevention == "enforced" && google_storage_bucket.source.uniform_bucket_level_access
    error_message = "The source is nobody else's business."
  }
  assert {
    condition     = google_cloud_run_v2_service.function.template[0].service_account == google_service_account.function.email && google_cloud_run_v2_worker_pool.supervisor.template[0].service_account == google_service_account.supervisor.email
    error_message = "Each workload runs as its own account."
  }
  assert {
    condition     = google_cloud_run_v2_service.function.deletion_protection && google_cloud_run_v2_worker_pool.supervisor.deletion_protection && google_firestore_database.records.delete_protection_state == "DELETE_PROTECTION_ENABLED"
    error_message = "Deleting takes two steps, unless told otherwise."
  }
}

run "the_function_is_made_of_its_own_files" {
  command = plan

  assert {
    condition = (
      alltrue([for name in ["main.py", "requirements.txt", "function/main.py", "function/notice.py"] : contains(keys(local._archive_files), name)])
      && !contains(keys(local._archive_files), "sessions.json")
    )
    error_message = "The archive is the function, found from the module's own folder; sessions lie with an agent's code."
  }
}

run "the_function_serves_what_it_is_sent" {
  command = plan

  assert {
    condition = one([
      for env in google_cloud_run_v2_service.function.template[0].containers[0].env : env.value if env.name == "THREADS"
    ]) == tostring(google_cloud_run_v2_service.function.template[0].max_instance_request_concurrency)
    error_message = "As many threads as concurrent requests."
  }
  assert {
    condition = (
      one([for env in google_cloud_run_v2_service.function.template[0].containers[0].env : env.value if env.name == "OPENAI_WEBHOOK_SECRET_FILE"]) == "/secrets/openai-webhook-secret/value"
      && google_cloud_run_v2_service.function.template[0].containers[0].volume_mounts[0].mount_path == "/secrets/openai-webhook-secret"
      && google_cloud_run_v2_service.function.template[0].volumes[0].secret[0].items[0].path == "value"
      && google_cloud_run_v2_service.function.template[0].volumes[0].secret[0].items[0].version == "latest"
    )
    error_message = "The webhook's secret is a file that follows its latest version."
  }
  assert {
    condition     = google_cloud_run_v2_service.function.template[0].scaling[0].min_instance_count == 1
    error_message = "A caller does not wait for a cold start."
  }
}

run "the_supervisors_are_probed_and_bounded" {
  command = plan

  assert {
    condition = alltrue([
      for probe in concat(
        google_cloud_run_v2_worker_pool.supervisor.template[0].containers[0].startup_probe,
        google_cloud_run_v2_worker_pool.supervisor.template[0].containers[0].liveness_probe,
      ) : "0.0.0.0:${probe.http_get[0].port}" == local.supervisor_environment["HEALTH_ADDRESS"]
    ])
    error_message = "The probes ask where the supervisor answers."
  }
  assert {
    condition     = local.max_calls == 200 && output.max_calls == 200
    error_message = "One CPU and a GiB hold 200 calls."
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool.supervisor.scaling[0].manual_instance_count == 2
    error_message = "With one supervisor, nobody takes over."
  }
  assert {
    condition     = tonumber(local.supervisor_environment["HANDOVER_SECONDS"]) <= 8
    error_message = "Cloud Run kills 10 s after SIGTERM."
  }
}

run "records_expire" {
  command = plan
  assert {
    condition     = alltrue([for field in google_firestore_field.expiry : length(field.ttl_config) == 1])
    error_message = "Personal data must not stay for ever."
  }
  assert {
    condition     = local.supervisor_environment["RECORDS"] == "firestore:${google_firestore_database.records.name}"
    error_message = "The supervisors write to this database."
  }
}

run "no_secret_value_is_in_the_state" {
  command = plan
  assert {
    condition     = google_secret_manager_secret_version.openai_api_key[0].secret_data == null && google_secret_manager_secret_version.openai_webhook_secret[0].secret_data == null
    error_message = "Secrets go through write-only arguments."
  }
}

run "the_webhook_can_be_made_before_the_function" {
  command = plan
  assert {
    condition     = output.webhook_url == "https://sideband-function-123456789012.europe-west4.run.app/webhooks/openai"
    error_message = "The address follows from names that are known beforehand."
  }
}

run "every_alert_carries_its_section_of_the_runbook" {
  command = plan
  assert {
    condition = alltrue([
      for alert in google_monitoring_alert_policy.this :
      length(alert.documentation[0].content) > 200 && length(alert.documentation[0].links) == 0
    ])
    error_message = "Who is woken up is told what to do, and sent to no page that is not there."
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.this["Supervisors are full"].documentation[0].content, "--region europe-west4 ")
    error_message = "Its commands are of this region."
  }
  assert {
    condition     = !anytrue([for alert in values(local.alerts) : strcontains(alert.query, "oldest_unacked")])
    error_message = "The oldest unacknowledged notice is the longest call."
  }
}

run "nothing_optional_unless_asked_for" {
  command = plan
  assert {
    condition     = length(module.autoscaling) == 0 && length(google_cloudbuild_trigger.push) == 0
    error_message = "Autoscaling and the trigger are options."
  }
}
