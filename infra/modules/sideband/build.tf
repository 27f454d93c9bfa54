# Images, and how code gets into them. The first image of the supervisors is built by the first apply; from then on
# cloudbuild.yaml tests, builds and rolls out, by hand or by the trigger.

locals {
  images_url  = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.name}"
  first_image = "${local.images_url}/supervisor:first"

  _has_dockerfile = try(fileexists("${var.source_code.folder}/${var.source_code.dockerfile}"), false)

  # The agent's module as files of its repository; its first part is a folder, since that is what the image gets.
  _agent_path  = replace(regex("^[^:]+", var.agent), ".", "/")
  _agent_files = concat(["${local._agent_path}/__init__.py"], strcontains(local._agent_path, "/") ? ["${local._agent_path}.py"] : [])
}

resource "google_artifact_registry_repository" "images" {
  #checkov:skip=CKV_GCP_84:Images hold code and no data; Google's keys encrypt them
  project       = var.project_id
  repository_id = var.name
  location      = var.region
  format        = "DOCKER"
  labels        = local.labels

  # A roll-back needs the images of before; nobody needs all of them.
  cleanup_policies {
    id     = "keep-the-last-ten"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }
  cleanup_policies {
    id     = "delete-after-a-month"
    action = "DELETE"
    condition {
      older_than = "2592000s"
    }
  }
  depends_on = [google_project_service.this]
}

# Needs gcloud where Terraform runs; pass supervisor_image to do without.
resource "terraform_data" "first_image" {
  count = var.supervisor_image == null ? 1 : 0

  provisioner "local-exec" {
    working_dir = var.source_code.folder
    command     = "gcloud builds submit . --config=\"$CONFIG\" --region=\"$REGION\" --project=\"$PROJECT\" --service-account=\"$ACCOUNT\" --gcs-source-staging-dir=\"$STAGING\" --substitutions=\"_IMAGE=$IMAGE,_AGENT=$AGENT,_DOCKERFILE=$DOCKERFILE\""
    environment = {
      ACCOUNT    = google_service_account.build.id
      AGENT      = var.agent
      CONFIG     = abspath("${path.module}/first-image.yaml")
      DOCKERFILE = var.source_code.dockerfile
      IMAGE      = local.first_image
      PROJECT    = var.project_id
      REGION     = var.region
      STAGING    = "gs://${google_storage_bucket.source.name}/staging"
    }
  }

  lifecycle {
    precondition {
      condition     = local._has_dockerfile
      error_message = "The supervisors' first image needs a Dockerfile: say in source_code where it is, or give a supervisor_image that is there already."
    }
    precondition {
      condition     = !local._has_dockerfile || anytrue([for path in local._agent_files : try(fileexists("${var.source_code.folder}/${path}"), false)])
      error_message = "The agent ${var.agent} is not in source_code.folder: there is no ${join(", and no ", local._agent_files)}."
    }
  }

  depends_on = [
    google_artifact_registry_repository_iam_member.build_pushes,
    google_project_iam_member.build_writes_logs,
    google_storage_bucket_iam_member.build_reads_source,
  ]
}

resource "google_cloudbuild_trigger" "push" {
  count           = var.build_trigger == null ? 0 : 1
  project         = var.project_id
  name            = "${var.name}-push"
  location        = var.region
  filename        = "cloudbuild.yaml"
  service_account = google_service_account.build.id
  substitutions = {
    _AGENT  = var.agent
    _NAME   = var.name
    _REGION = var.region
  }
  repository_event_config {
    repository = var.build_trigger.repository
    push {
      branch = var.build_trigger.branch
    }
  }
  depends_on = [google_project_service.this]
}
