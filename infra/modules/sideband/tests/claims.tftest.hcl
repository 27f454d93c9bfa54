# What makes a lease the ownership of a call. Every provider is a stand-in: no cloud is asked.

mock_provider "google" {}
mock_provider "archive" {}

override_data {
  target = data.google_project.this
  values = { number = "123456789012" }
}

variables {
  project_id            = "a-project"
  region                = "europe-west4"
  openai_api_key        = "sk-never-in-a-state"
  openai_webhook_secret = "whsec_bmV2ZXIgaW4gYSBzdGF0ZQ=="
  token_secret          = "never-in-a-state-never-in-a-state"
  supervisor_image      = "europe-west4-docker.pkg.dev/a-project/sideband/supervisor@sha256:0123"
}

run "a_claim_is_the_ownership_of_a_call" {
  command = apply

  assert {
    condition     = google_pubsub_subscription.claims.enable_exactly_once_delivery == true
    error_message = "Without exactly-once delivery a lost lease goes unnoticed."
  }
  assert {
    condition     = length(google_pubsub_subscription.claims.retry_policy) == 0
    error_message = "A retry policy delays hand-overs."
  }
  assert {
    condition     = google_pubsub_subscription.claims.ack_deadline_seconds == 10
    error_message = "The first lease is 10 s."
  }
  assert {
    condition     = google_pubsub_subscription.claims.message_retention_duration == "7200s"
    error_message = "A notice is of no use after two hours."
  }
  assert {
    condition     = google_pubsub_subscription.claims.expiration_policy[0].ttl == ""
    error_message = "The subscription must outlive a quiet month."
  }
  assert {
    condition     = google_pubsub_subscription.claims.enable_message_ordering == false
    error_message = "With ordering, a call would block others."
  }
  assert {
    condition     = google_pubsub_subscription.claims.dead_letter_policy[0].max_delivery_attempts == 50
    error_message = "Hand-overs and crashes count as attempts: fewer than 50 are used up by deploys."
  }
  assert {
    condition     = google_pubsub_subscription.claims.dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead_letters.id && google_pubsub_subscription.dead_letters.topic == google_pubsub_topic.dead_letters.id
    error_message = "Dead letters need a topic of their own, and a subscription that keeps them."
  }
  assert {
    condition = (
      google_pubsub_topic_iam_member.agent_publishes_dead_letters.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
      && google_pubsub_topic_iam_member.agent_publishes_dead_letters.role == "roles/pubsub.publisher"
      && google_pubsub_subscription_iam_member.agent_takes_dead_letters.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
      && google_pubsub_subscription_iam_member.agent_takes_dead_letters.role == "roles/pubsub.subscriber"
      && google_pubsub_subscription_iam_member.agent_takes_dead_letters.subscription == google_pubsub_subscription.claims.id
    )
    error_message = "Without its two roles Pub/Sub moves no dead letters."
  }
  assert {
    condition     = local.supervisor_environment["PUBSUB_ENDPOINT"] == "${google_cloud_run_v2_worker_pool.supervisor.location}-pubsub.googleapis.com"
    error_message = "Exactly-once delivery holds for subscribers of one region: the endpoint must be that region's."
  }
}
