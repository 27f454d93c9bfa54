# The function, as a Cloud Run function: built from an archive by Google's buildpack, open to the internet, since OpenAI
# signs what it sends instead of carrying a Google identity.

locals {
  function_name = "${var.name}-function"

  # What the archive holds: files by glob, and the folder in it that each goes to. Tests and roll-outs read it too.
  _archive_globs = jsondecode(file("${path.module}/function-archive.json"))
  _archive_files = merge([
    for glob, folder in local._archive_globs :
    { for path in fileset(local.root, glob) : "${folder}${basename(path)}" => path }
  ]...)

  function_environment = {
    CALLS_TOPIC          = google_pubsub_topic.calls.name
    GOOGLE_CLOUD_PROJECT = var.project_id
    THREADS              = var.function.concurrency # gunicorn's: fewer would leave requests that Cloud Run sent waiting
  }
  function_secrets = {
    OPENAI_WEBHOOK_SECRET = google_secret_manager_secret.this["openai-webhook-secret"]
  }

  function_base_image = "${var.region}-docker.pkg.dev/serverless-runtimes/google-22/runtimes/python313"
}

data "archive_file" "function" {
  type             = "zip"
  output_path      = "${local.root}/build/function.zip"
  output_file_mode = "0644"
  dynamic "source" {
    for_each = local._archive_files
    content {
      filename = source.key
      content  = file("${local.root}/${source.value}")
    }
  }
}

resource "google_storage_bucket" "source" {
  #checkov:skip=CKV_GCP_62:It holds source archives alone, and Cloud Audit Logs tell who writes them
  name                        = "${var.project_id}-${var.name}-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # nothing in it can't be built again
  versioning {
    enabled = true # a roll-back needs the archive of before
  }
  lifecycle_rule {
    condition {
      num_newer_versions = 10
    }
    action {
      type = "Delete"
    }
  }
  depends_on = [google_project_service.this]
}

resource "google_storage_bucket_object" "function" {
  name   = "function/${data.archive_file.function.output_md5}.zip"
  bucket = google_storage_bucket.source.name
  source = data.archive_file.function.output_path
}

resource "google_cloud_run_v2_service" "function" {
  name                 = local.function_name
  location             = var.region
  ingress              = "INGRESS_TRAFFIC_ALL"
  invoker_iam_disabled = true # works where the organisation forbids grants to allUsers, too
  deletion_protection  = var.deletion_protection.workloads

  build_config {
    source_location          = "gs://${google_storage_bucket.source.name}/${google_storage_bucket_object.function.name}"
    function_target          = "edge"
    image_uri                = "${local.images_url}/function"
    base_image               = local.function_base_image
    enable_automatic_updates = true # Google patches Python and the operating system below it
    service_account          = google_service_account.build.id
  }

  template {
    service_account                  = google_service_account.function.email
    max_instance_request_concurrency = var.function.concurrency
    timeout                          = "30s" # OpenAI waits no longer than that for a webhook, as far as is known
    scaling {
      min_instance_count = var.function.min_instances
      max_instance_count = var.function.max_instances
    }
    containers {
      image          = "${local.images_url}/function"
      base_image_uri = local.function_base_image
      resources {
        limits = {
          cpu    = var.function.cpu
          memory = "${var.function.memory_mib}Mi"
        }
        cpu_idle          = true # it does nothing between requests
        startup_cpu_boost = true
      }
      dynamic "env" {
        for_each = local.function_environment
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = local.function_secrets
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
      startup_probe {
        period_seconds    = 1
        failure_threshold = 60
        http_get {
          path = "/"
        }
      }
    }
  }

  # Terraform owns the shape; cloudbuild.yaml rolls out the code.
  lifecycle {
    ignore_changes = [
      build_config[0].source_location,
      client,
      client_version,
      template[0].containers[0].image,
    ]
  }

  depends_on = [
    google_artifact_registry_repository_iam_member.build_pushes,
    google_project_iam_member.build_writes_logs,
    google_pubsub_topic_iam_member.function_publishes,
    google_secret_manager_secret_iam_member.function_reads_webhook_secret,
    google_secret_manager_secret_version.openai_webhook_secret,
    google_storage_bucket_iam_member.build_reads_source,
  ]
}
