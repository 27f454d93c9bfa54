# The supervisors, as a Cloud Run worker pool: no requests, always on. Google gives a process 10 s between SIGTERM and the
# end; a supervisor hands its calls over in 8.

locals {
  health_port = 8081 # the Dockerfile's HEALTH_ADDRESS names the same

  # A call takes at most half a per cent of a CPU, and a MiB; what the process itself takes is put aside.
  _calls_by_cpu    = floor(var.supervisor.cpu * 200)
  _calls_by_memory = floor(var.supervisor.memory_mib - 320)
  max_calls        = min(local._calls_by_cpu, local._calls_by_memory)

  supervisor_environment = {
    CALLS_SUBSCRIPTION          = google_pubsub_subscription.claims.name
    GOOGLE_CLOUD_PROJECT        = var.project_id
    HANDOVER_SECONDS            = 8
    HEALTH_ADDRESS              = "0.0.0.0:${local.health_port}"
    LEASE_SECONDS               = var.supervisor.lease_seconds
    LOG_LEVEL                   = "INFO"
    MAX_CALLS                   = local.max_calls
    OPENAI_BASE_URL             = var.openai.base_url
    OTEL_EXPORTER_OTLP_ENDPOINT = "https://telemetry.googleapis.com"
    OTEL_RESOURCE_ATTRIBUTES    = "service.namespace=${var.name},cloud.region=${var.region}"
    OTEL_TRACES_SAMPLER         = "always_on" # calls are few, and each matters
    PUBSUB_ENDPOINT             = "${var.region}-pubsub.googleapis.com"
    RECORDS                     = "firestore:${google_firestore_database.records.name}"
    TRANSFER_TARGETS            = join(" ", var.transfer_targets)
  }
  supervisor_secrets = {
    OPENAI_API_KEY = google_secret_manager_secret.this["openai-api-key"]
  }
}

resource "google_cloud_run_v2_worker_pool" "supervisor" {
  project             = var.project_id
  name                = "${var.name}-supervisor"
  location            = var.region
  deletion_protection = var.deletion_protection.workloads
  labels              = local.labels

  scaling {
    manual_instance_count = try(var.autoscaling.min_instances, var.supervisor.instances)
  }

  template {
    service_account = google_service_account.supervisor.email
    containers {
      image = coalesce(var.supervisor_image, local.first_image)
      resources {
        limits = {
          cpu    = var.supervisor.cpu
          memory = "${var.supervisor.memory_mib}Mi"
        }
      }
      dynamic "env" {
        for_each = local.supervisor_environment
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = local.supervisor_secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value.secret_id
              version = "latest"
            }
          }
        }
      }
      # Ready once Pub/Sub has answered a pull: a revision that may not claim calls never replaces one that does.
      startup_probe {
        period_seconds    = 2
        failure_threshold = 60
        timeout_seconds   = 2
        http_get {
          path = "/readyz"
          port = local.health_port
        }
      }
      # The event loop answers it: one that hangs can't renew leases either.
      liveness_probe {
        period_seconds    = 5
        failure_threshold = 3
        timeout_seconds   = 3
        http_get {
          path = "/livez"
          port = local.health_port
        }
      }
    }
  }

  # Terraform owns the shape; cloudbuild.yaml rolls out the code, and operations, or the autoscaler, own the number.
  lifecycle {
    ignore_changes = [
      client,
      client_version,
      scaling[0].manual_instance_count,
      template[0].containers[0].image,
    ]
  }

  depends_on = [
    google_project_iam_member.supervisor_writes_records,
    google_pubsub_subscription_iam_member.supervisor_claims,
    google_secret_manager_secret_iam_member.supervisor_reads_api_key,
    google_secret_manager_secret_version.openai_api_key,
    terraform_data.first_image,
  ]
}
