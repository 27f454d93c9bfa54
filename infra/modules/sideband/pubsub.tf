# A notice is leased by one supervisor for as long as its call lives: the lease is the ownership of the call.

locals {
  # Google's own agent moves what nobody could handle, and needs leave to do so.
  _pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_topic" "calls" {
  #checkov:skip=CKV_GCP_83:Google's keys encrypt it; a key of one's own is one more thing that can stop every call
  project = var.project_id
  name    = "${var.name}-calls"
  labels  = local.labels
  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }
  depends_on = [google_project_service.this]
}

resource "google_pubsub_subscription" "claims" {
  project                      = var.project_id
  name                         = "${var.name}-claims"
  topic                        = google_pubsub_topic.calls.id
  ack_deadline_seconds         = 10
  enable_exactly_once_delivery = true # the ack id is a fencing token only with it
  enable_message_ordering      = false
  message_retention_duration   = "7200s" # no call rings for two hours
  labels                       = local.labels

  expiration_policy {
    ttl = "" # never, however long nobody calls
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = 50 # each hand-over and each crash costs one
  }

  # No retry_policy: its back-off would delay every hand-over.

  depends_on = [google_pubsub_topic_iam_member.agent_publishes_dead_letters]
}

resource "google_pubsub_topic" "dead_letters" {
  #checkov:skip=CKV_GCP_83:The same as for the calls
  project = var.project_id
  name    = "${var.name}-dead-letters"
  labels  = local.labels
  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }
  depends_on = [google_project_service.this]
}

# Without a subscription dead letters would be lost.
resource "google_pubsub_subscription" "dead_letters" {
  project                    = var.project_id
  name                       = "${var.name}-dead-letters"
  topic                      = google_pubsub_topic.dead_letters.id
  message_retention_duration = "604800s" # a week to look at them
  labels                     = local.labels

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_topic_iam_member" "agent_publishes_dead_letters" {
  topic  = google_pubsub_topic.dead_letters.id
  role   = "roles/pubsub.publisher"
  member = local._pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "agent_takes_dead_letters" {
  subscription = google_pubsub_subscription.claims.id
  role         = "roles/pubsub.subscriber"
  member       = local._pubsub_agent
}
