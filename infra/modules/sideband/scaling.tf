# Optional: the number of supervisors follows the live calls. Scaling in is a hand-over, and so is safe.

module "autoscaling" {
  source = "../crema"
  count  = var.autoscaling == null ? 0 : 1

  bounds              = { min = var.autoscaling.min_instances, max = var.autoscaling.max_instances }
  calls_per_instance  = floor(local.max_calls * 0.7) # head-room: metrics come minutes late, and calls do not wait
  image               = var.autoscaling.image
  labels              = local.labels
  name                = var.name
  project_id          = var.project_id
  region              = var.region
  subscription        = google_pubsub_subscription.claims.name
  worker_pool         = google_cloud_run_v2_worker_pool.supervisor.name
  worker_pool_account = google_service_account.supervisor.name
  depends_on          = [google_project_service.this]
}
