# What a clone of this repository applies: a provider, and the module with its variables passed on. A root of your own, in
# your own repository, calls the module in the same way: modules/sideband/README.md. A backend goes into backend.tf.

provider "google" {
  project = var.project_id
  region  = var.region
}

module "sideband" {
  source      = "./modules/sideband"
  source_code = { folder = "${path.module}/..", dockerfile = "supervisor/Dockerfile" }

  agent                 = var.agent
  alerts                = var.alerts
  autoscaling           = var.autoscaling
  browsers              = var.browsers
  build_trigger         = var.build_trigger
  deletion_protection   = var.deletion_protection
  function              = var.function
  labels                = var.labels
  name                  = var.name
  openai                = var.openai
  openai_api_key        = var.openai_api_key
  openai_webhook_secret = var.openai_webhook_secret
  project_id            = var.project_id
  region                = var.region
  secret_versions       = var.secret_versions
  supervisor            = var.supervisor
  supervisor_image      = var.supervisor_image
  token_secret          = var.token_secret
  transfer_targets      = var.transfer_targets
}
