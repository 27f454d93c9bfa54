# The function, as a Cloud Run function: built from an archive by Google's buildpack, open to the internet, since OpenAI
# signs what it sends instead of carrying a Google identity.

locals {
  function_name = "${var.name}-function"

  # What the archive holds: files of this repository by glob, and the folder in it that each goes to; tests and roll-outs
  # read it too. And the sessions of the agents, which lie with the agents' code.
  _archive_globs = jsondecode(file("${path.module}/function-archive.json"))
  _has_sessions  = try(fileexists("${var.source_code.folder}/sessions.json"), false)
  _archive_files = merge(
    merge([
      for glob, folder in local._archive_globs :
      { for path in fileset(local.root, glob) : "${folder}${basename(path)}" => "${local.root}/${path}" }
    ]...),
    local._has_sessions ? { "sessions.json" = "${var.source_code.folder}/sessions.json" } : {},
  )

  function_environment = {
    CALLS_TOPIC          = google_pubsub_topic.calls.name
    GOOGLE_CLOUD_PROJECT = var.project_id
    THREADS              = var.function.concurrency # as many as Cloud Run sends requests at once
  }
  # Mounted as files, which follow the latest version: a rotation needs no roll-out.
  function_files = {
    OPENAI_WEBHOOK_SECRET_FILE = google_secret_manager_secret.this["openai-webhook-secret"]
  }

  # For calls from browsers, when var.browsers turns them on.
  browser_environment = {
    ALLOWED_ORIGINS = try(join(" ", var.browsers.allowed_origins), "")
    OPENAI_BASE_URL = var.openai.base_url
    SESSIONS_FILE   = "/workspace/sessions.json" # where the buildpack puts the archive
    TOKEN_AUDIENCE  = try(var.browsers.token_audience, "")
    TOKEN_JWKS_URL  = try(coalesce(var.browsers.token_jwks_url), "")
  }
  browser_secrets = {
    OPENAI_API_KEY = google_secret_manager_secret.this["openai-api-key"]
  }
  browser_files = {
    TOKEN_SECRET_FILE = try(google_secret_manager_secret.this["token-secret"], null)
  }

  browsers              = var.browsers != null
  browsers_share_secret = local.browsers && try(var.browsers.token_jwks_url, null) == null

  _environment = merge(local.function_environment, local.browsers ? local.browser_environment : {})
  _secrets     = local.browsers ? local.browser_secrets : {}
  _files = {
    for name, secret in merge(local.function_files, local.browsers_share_secret ? local.browser_files : {}) :
    name => { secret = secret.secret_id, volume = trimsuffix(lower(replace(name, "_", "-")), "-file") }
  }

  function_base_image = "${var.region}-docker.pkg.dev/serverless-runtimes/google-22/runtimes/python313"
}

data "archive_file" "function" {
  type             = "zip"
  output_path      = "${local.root}/build/${local.function_name}.zip" # by name, since one root may call the module twice
  output_file_mode = "0644"
  dynamic "source" {
    for_each = local._archive_files
    content {
      filename = source.key
      content  = file(source.value)
    }
  }
}

resource "google_storage_bucket" "source" {
  #checkov:skip=CKV_GCP_62:It holds source archives alone, and Cloud Audit Logs tell who writes them
  project                     = var.project_id
  name                        = "${var.project_id}-${var.name}-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # nothing in it can't be built again
  labels                      = local.labels
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
  project              = var.project_id
  name                 = local.function_name
  location             = var.region
  ingress              = "INGRESS_TRAFFIC_ALL"
  invoker_iam_disabled = true # works where the organisation forbids grants to allUsers, too
  deletion_protection  = var.deletion_protection.workloads
  labels               = local.labels

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
        for_each = merge(local._environment, { for name, file in local._files : name => "/secrets/${file.volume}/value" })
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = local._secrets
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
      dynamic "volume_mounts" {
        for_each = local._files
        content {
          name       = volume_mounts.value.volume
          mount_path = "/secrets/${volume_mounts.value.volume}"
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
    dynamic "volumes" {
      for_each = local._files
      content {
        name = volumes.value.volume
        secret {
          secret = volumes.value.secret
          items {
            path    = "value"
            version = "latest"
          }
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
    precondition {
      condition     = !local.browsers || local._has_sessions
      error_message = "Calls from browsers need the agents' sessions in source_code.folder: sideband sessions ${var.agent} > sessions.json"
    }
  }

  depends_on = [
    google_artifact_registry_repository_iam_member.build_pushes,
    google_project_iam_member.build_writes_logs,
    google_pubsub_topic_iam_member.function_publishes,
    google_secret_manager_secret_iam_member.function_makes_calls,
    google_secret_manager_secret_iam_member.function_reads_token_secret,
    google_secret_manager_secret_iam_member.function_reads_webhook_secret,
    google_secret_manager_secret_version.openai_api_key,
    google_secret_manager_secret_version.openai_webhook_secret,
    google_secret_manager_secret_version.token_secret,
    google_storage_bucket_iam_member.build_reads_source,
  ]
}
