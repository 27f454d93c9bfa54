# One account for each workload, each with the least that it needs, each grant with its reason. Nobody has a key, and
# Google's default accounts are not used. tests/ hold the exact list.

resource "google_service_account" "function" {
  project      = var.project_id
  account_id   = "${var.name}-function"
  display_name = "Sideband: the function"
  depends_on   = [google_project_service.this]
}

resource "google_service_account" "supervisor" {
  project      = var.project_id
  account_id   = "${var.name}-supervisor"
  display_name = "Sideband: the supervisors"
  depends_on   = [google_project_service.this]
}

resource "google_service_account" "build" {
  project      = var.project_id
  account_id   = "${var.name}-build"
  display_name = "Sideband: builds and roll-outs"
  depends_on   = [google_project_service.this]
}

# The function hears of calls, and tells of them.

resource "google_pubsub_topic_iam_member" "function_publishes" {
  topic  = google_pubsub_topic.calls.id
  role   = "roles/pubsub.publisher"
  member = google_service_account.function.member
}

resource "google_secret_manager_secret_iam_member" "function_reads_webhook_secret" {
  secret_id = google_secret_manager_secret.this["openai-webhook-secret"].id
  role      = "roles/secretmanager.secretAccessor" # to check signatures
  member    = google_service_account.function.member
}

resource "google_secret_manager_secret_iam_member" "function_makes_calls" {
  count     = local.browsers ? 1 : 0
  secret_id = google_secret_manager_secret.this["openai-api-key"].id
  role      = "roles/secretmanager.secretAccessor" # to make browsers' calls at OpenAI
  member    = google_service_account.function.member
}

resource "google_secret_manager_secret_iam_member" "function_reads_token_secret" {
  count     = local.browsers_share_secret ? 1 : 0
  secret_id = google_secret_manager_secret.this["token-secret"].id
  role      = "roles/secretmanager.secretAccessor" # to check browsers' tokens
  member    = google_service_account.function.member
}

# The supervisors claim calls, steer them, and write them down.

resource "google_pubsub_subscription_iam_member" "supervisor_claims" {
  subscription = google_pubsub_subscription.claims.id
  role         = "roles/pubsub.subscriber" # pull, extend, acknowledge: this subscription alone
  member       = google_service_account.supervisor.member
}

resource "google_secret_manager_secret_iam_member" "supervisor_reads_api_key" {
  secret_id = google_secret_manager_secret.this["openai-api-key"].id
  role      = "roles/secretmanager.secretAccessor" # to accept calls and attach to them
  member    = google_service_account.supervisor.member
}

resource "google_project_iam_member" "supervisor_writes_records" {
  project = var.project_id
  role    = "roles/datastore.user" # Firestore has no grants of its own: the condition keeps it to our database
  member  = google_service_account.supervisor.member
  condition {
    title       = "${var.name}-records"
    description = "This database alone"
    expression  = "resource.name == \"${local.records_database_path}\""
  }
}

resource "google_project_iam_member" "supervisor_writes_telemetry" {
  for_each = toset([
    "roles/telemetry.metricsWriter", # OTLP metrics; writes alone
    "roles/telemetry.tracesWriter",  # OTLP traces; writes alone
  ])
  project = var.project_id
  role    = each.key
  member  = google_service_account.supervisor.member
}

# Builds read the source, write images and logs, and roll both workloads out.

resource "google_project_iam_member" "build_writes_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter" # a build account of one's own must write its own log
  member  = google_service_account.build.member
}

resource "google_artifact_registry_repository_iam_member" "build_pushes" {
  project    = var.project_id
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer" # both images go there
  member     = google_service_account.build.member
}

resource "google_storage_bucket_iam_member" "build_reads_source" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectUser" # reads what is built; a roll-out puts the function's archive there
  member = google_service_account.build.member
}

resource "google_cloud_run_v2_service_iam_member" "build_rolls_out" {
  project  = var.project_id
  name     = google_cloud_run_v2_service.function.name
  location = var.region
  role     = "roles/run.developer" # to change this one service
  member   = google_service_account.build.member
}

resource "google_cloud_run_v2_worker_pool_iam_member" "build_rolls_out" {
  project  = var.project_id
  name     = google_cloud_run_v2_worker_pool.supervisor.name
  location = var.region
  role     = "roles/run.developer" # to change this one worker pool
  member   = google_service_account.build.member
}

resource "google_service_account_iam_member" "build_acts_as" {
  for_each = {
    build      = google_service_account.build.name # Cloud Run builds the function as this account
    function   = google_service_account.function.name
    supervisor = google_service_account.supervisor.name
  }
  service_account_id = each.value
  role               = "roles/iam.serviceAccountUser" # a roll-out names the account that the workload runs as
  member             = google_service_account.build.member
}

resource "google_secret_manager_secret_iam_member" "build_signs_smoke_test" {
  secret_id = google_secret_manager_secret.this["openai-webhook-secret"].id
  role      = "roles/secretmanager.secretAccessor" # infra/scripts/smoke.py sends a webhook that has to be believed
  member    = google_service_account.build.member
}
