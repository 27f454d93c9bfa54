# Values come from ephemeral variables through write-only arguments, so that neither plan nor state holds one. After the
# first apply, new versions may come from anywhere: `gcloud secrets versions add`, or a rotation of the webhook. Terraform
# never destroys one: 0 leaves it where it is, and a new one is there before anybody does without the old.

resource "google_secret_manager_secret" "this" {
  for_each  = toset(concat(["openai-api-key", "openai-webhook-secret"], local.browsers_share_secret ? ["token-secret"] : []))
  project   = var.project_id
  secret_id = "${var.name}-${each.key}"
  labels    = local.labels
  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
  depends_on = [google_project_service.this]
}

resource "google_secret_manager_secret_version" "openai_api_key" {
  count                  = var.secret_versions.openai_api_key > 0 ? 1 : 0
  secret                 = google_secret_manager_secret.this["openai-api-key"].id
  secret_data_wo         = var.openai_api_key
  secret_data_wo_version = var.secret_versions.openai_api_key
  deletion_policy        = "ABANDON"
}

resource "google_secret_manager_secret_version" "openai_webhook_secret" {
  count                  = var.secret_versions.openai_webhook_secret > 0 ? 1 : 0
  secret                 = google_secret_manager_secret.this["openai-webhook-secret"].id
  secret_data_wo         = var.openai_webhook_secret
  secret_data_wo_version = var.secret_versions.openai_webhook_secret
  deletion_policy        = "ABANDON"
}

resource "google_secret_manager_secret_version" "token_secret" {
  count                  = local.browsers_share_secret && var.secret_versions.token_secret > 0 ? 1 : 0
  secret                 = google_secret_manager_secret.this["token-secret"].id
  secret_data_wo         = var.token_secret
  secret_data_wo_version = var.secret_versions.token_secret
  deletion_policy        = "ABANDON"
}
