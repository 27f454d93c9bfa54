# CREMA, Google's autoscaler of worker pools by external metrics (KEDA's scalers): a small service, always on, that sets
# the pool's instance count by the greater of two numbers:
# - notices that are not acknowledged: calls that wait, and calls that are held, since a held call's notice is leased;
# - calls in hand, as the supervisors report them, should Pub/Sub's number ever leave the leased ones out.
# Never by CPU, and never by a backlog without the leased notices: both take busy supervisors for idle ones.

locals {
  _authentication = "google"
  _pool           = "projects/${var.project_id}/locations/${var.region}/workerpools/${var.worker_pool}"

  config = {
    apiVersion = "crema/v1"
    kind       = "CremaConfig"
    spec = {
      pollingInterval = 30
      triggerAuthentications = [{
        metadata = { name = local._authentication }
        spec     = { podIdentity = { provider = "gcp" } }
      }]
      scaledObjects = [{
        spec = {
          scaleTargetRef  = { name = local._pool }
          minReplicaCount = var.bounds.min
          maxReplicaCount = var.bounds.max
          triggers = [{
            type              = "prometheus"
            authenticationRef = { name = local._authentication }
            metadata = {
              serverAddress    = "https://monitoring.googleapis.com/v1/projects/${var.project_id}/location/global/prometheus"
              query            = local.query
              threshold        = tostring(var.calls_per_instance)
              ignoreNullValues = "false" # without numbers, better no change than too few instances
            }
          }]
          advanced = {
            horizontalPodAutoscalerConfig = {
              behavior = {
                scaleUp   = { stabilizationWindowSeconds = 0, policies = [{ type = "Percent", value = 100, periodSeconds = 30 }] }
                scaleDown = { stabilizationWindowSeconds = 600, policies = [{ type = "Pods", value = 1, periodSeconds = 120 }] }
              }
            }
          }
        }
      }]
    }
  }

  _notices = "sum(pubsub_googleapis_com:subscription_num_undelivered_messages{monitored_resource=\"pubsub_subscription\",subscription_id=\"${var.subscription}\"})"
  _calls   = "sum(sideband_calls{namespace=\"${var.name}\"})"
  # The labels keep `or` from taking the two for one series.
  query = "max(label_replace(${local._notices},\"of\",\"notices\",\"\",\"\") or label_replace(${local._calls},\"of\",\"calls\",\"\",\"\"))"
}

resource "google_service_account" "this" {
  project      = var.project_id
  account_id   = "${var.name}-autoscaler"
  display_name = "Sideband: the autoscaler"
}

resource "google_parameter_manager_parameter" "config" {
  project      = var.project_id
  parameter_id = "${var.name}-autoscaler"
  format       = "YAML"
  labels       = var.labels
}

resource "google_parameter_manager_parameter_version" "config" {
  parameter            = google_parameter_manager_parameter.config.id
  parameter_version_id = substr(sha256(yamlencode(local.config)), 0, 12) # a version can't be changed
  parameter_data       = yamlencode(local.config)
}

resource "google_cloud_run_v2_service" "this" {
  project             = var.project_id
  name                = "${var.name}-autoscaler"
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY" # nobody calls it: it polls
  deletion_protection = false                           # it keeps nothing
  labels              = var.labels
  scaling {
    manual_instance_count = 1
    scaling_mode          = "MANUAL"
  }
  template {
    service_account = google_service_account.this.email
    containers {
      image          = var.image
      base_image_uri = "${var.region}-docker.pkg.dev/serverless-runtimes/google-24/runtimes/java25"
      env {
        name  = "CREMA_CONFIG"
        value = google_parameter_manager_parameter_version.config.name
      }
      resources {
        cpu_idle = false
        limits = {
          cpu    = "1"
          memory = "512Mi"
        }
      }
    }
  }
  depends_on = [google_project_iam_member.reads]
}

resource "google_project_iam_member" "reads" {
  for_each = toset([
    "roles/monitoring.viewer",                # the two metrics
    "roles/parametermanager.parameterViewer", # its own configuration
  ])
  project = var.project_id
  role    = each.key
  member  = google_service_account.this.member
}

resource "google_cloud_run_v2_worker_pool_iam_member" "scales" {
  project  = var.project_id
  name     = var.worker_pool
  location = var.region
  role     = "roles/run.developer" # to set the instance count
  member   = google_service_account.this.member
}

resource "google_service_account_iam_member" "acts_as_supervisor" {
  service_account_id = var.worker_pool_account
  role               = "roles/iam.serviceAccountUser" # an update of the pool names the account that it runs as
  member             = google_service_account.this.member
}
