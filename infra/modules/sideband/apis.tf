locals {
  _services = concat(
    [
      "artifactregistry.googleapis.com",
      "cloudbuild.googleapis.com",
      "firestore.googleapis.com",
      "iam.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
      "storage.googleapis.com",
      "telemetry.googleapis.com",
    ],
    var.autoscaling == null ? [] : ["parametermanager.googleapis.com"],
  )
}

resource "google_project_service" "this" {
  for_each           = toset(local._services)
  project            = var.project_id
  service            = each.key
  disable_on_destroy = false # others in the project may use it
}
