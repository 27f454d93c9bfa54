# From an empty project to a ringing phone; docs/deploy.md has the commands. No provider and no backend is configured here:
# that is for the root that calls, which is ours (infra/) or one in a repository of your own (README.md).
# Each file is about one thing: what calls go through (pubsub), who works on them (function, supervisor, scaling),
# what they know (secrets, records), how they get there (build), who may do what (iam), and what tells of trouble
# (alerts, dashboard).

data "google_project" "this" {
  project_id = var.project_id
  depends_on = [google_project_service.this]
}

locals {
  labels = merge({ app = var.name }, var.labels)
  root   = "${path.module}/../../.." # of this repository, or of the copy of it that `terraform init` fetched

  # Known before the service exists, so that OpenAI's webhook can be made first.
  function_url = "https://${local.function_name}-${data.google_project.this.number}.${var.region}.run.app"
}
