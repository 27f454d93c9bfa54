# Version 0.1 had all of this in the root. A state of that time finds its resources again in the module: a plan moves
# them, and makes and destroys none. What the module gained since needs no block here.

moved {
  from = google_artifact_registry_repository.images
  to   = module.sideband.google_artifact_registry_repository.images
}

moved {
  from = google_artifact_registry_repository_iam_member.build_pushes
  to   = module.sideband.google_artifact_registry_repository_iam_member.build_pushes
}

moved {
  from = google_cloud_run_v2_service.function
  to   = module.sideband.google_cloud_run_v2_service.function
}

moved {
  from = google_cloud_run_v2_service_iam_member.build_rolls_out
  to   = module.sideband.google_cloud_run_v2_service_iam_member.build_rolls_out
}

moved {
  from = google_cloud_run_v2_worker_pool.supervisor
  to   = module.sideband.google_cloud_run_v2_worker_pool.supervisor
}

moved {
  from = google_cloud_run_v2_worker_pool_iam_member.build_rolls_out
  to   = module.sideband.google_cloud_run_v2_worker_pool_iam_member.build_rolls_out
}

moved {
  from = google_cloudbuild_trigger.push
  to   = module.sideband.google_cloudbuild_trigger.push
}

moved {
  from = google_firestore_database.records
  to   = module.sideband.google_firestore_database.records
}

moved {
  from = google_firestore_field.expiry
  to   = module.sideband.google_firestore_field.expiry
}

moved {
  from = google_firestore_field.json
  to   = module.sideband.google_firestore_field.json
}

moved {
  from = google_monitoring_alert_policy.this
  to   = module.sideband.google_monitoring_alert_policy.this
}

moved {
  from = google_monitoring_dashboard.this
  to   = module.sideband.google_monitoring_dashboard.this
}

moved {
  from = google_project_iam_member.build_writes_logs
  to   = module.sideband.google_project_iam_member.build_writes_logs
}

moved {
  from = google_project_iam_member.supervisor_writes_records
  to   = module.sideband.google_project_iam_member.supervisor_writes_records
}

moved {
  from = google_project_iam_member.supervisor_writes_telemetry
  to   = module.sideband.google_project_iam_member.supervisor_writes_telemetry
}

moved {
  from = google_project_service.this
  to   = module.sideband.google_project_service.this
}

moved {
  from = google_pubsub_subscription.claims
  to   = module.sideband.google_pubsub_subscription.claims
}

moved {
  from = google_pubsub_subscription.dead_letters
  to   = module.sideband.google_pubsub_subscription.dead_letters
}

moved {
  from = google_pubsub_subscription_iam_member.agent_takes_dead_letters
  to   = module.sideband.google_pubsub_subscription_iam_member.agent_takes_dead_letters
}

moved {
  from = google_pubsub_subscription_iam_member.supervisor_claims
  to   = module.sideband.google_pubsub_subscription_iam_member.supervisor_claims
}

moved {
  from = google_pubsub_topic.calls
  to   = module.sideband.google_pubsub_topic.calls
}

moved {
  from = google_pubsub_topic.dead_letters
  to   = module.sideband.google_pubsub_topic.dead_letters
}

moved {
  from = google_pubsub_topic_iam_member.agent_publishes_dead_letters
  to   = module.sideband.google_pubsub_topic_iam_member.agent_publishes_dead_letters
}

moved {
  from = google_pubsub_topic_iam_member.function_publishes
  to   = module.sideband.google_pubsub_topic_iam_member.function_publishes
}

moved {
  from = google_secret_manager_secret.this
  to   = module.sideband.google_secret_manager_secret.this
}

moved {
  from = google_secret_manager_secret_iam_member.build_signs_smoke_test
  to   = module.sideband.google_secret_manager_secret_iam_member.build_signs_smoke_test
}

moved {
  from = google_secret_manager_secret_iam_member.function_makes_calls
  to   = module.sideband.google_secret_manager_secret_iam_member.function_makes_calls
}

moved {
  from = google_secret_manager_secret_iam_member.function_reads_token_secret
  to   = module.sideband.google_secret_manager_secret_iam_member.function_reads_token_secret
}

moved {
  from = google_secret_manager_secret_iam_member.function_reads_webhook_secret
  to   = module.sideband.google_secret_manager_secret_iam_member.function_reads_webhook_secret
}

moved {
  from = google_secret_manager_secret_iam_member.supervisor_reads_api_key
  to   = module.sideband.google_secret_manager_secret_iam_member.supervisor_reads_api_key
}

moved {
  from = google_secret_manager_secret_version.openai_api_key
  to   = module.sideband.google_secret_manager_secret_version.openai_api_key
}

moved {
  from = google_secret_manager_secret_version.openai_webhook_secret
  to   = module.sideband.google_secret_manager_secret_version.openai_webhook_secret
}

moved {
  from = google_secret_manager_secret_version.token_secret
  to   = module.sideband.google_secret_manager_secret_version.token_secret
}

moved {
  from = google_service_account.build
  to   = module.sideband.google_service_account.build
}

moved {
  from = google_service_account.function
  to   = module.sideband.google_service_account.function
}

moved {
  from = google_service_account.supervisor
  to   = module.sideband.google_service_account.supervisor
}

moved {
  from = google_service_account_iam_member.build_acts_as
  to   = module.sideband.google_service_account_iam_member.build_acts_as
}

moved {
  from = google_storage_bucket.source
  to   = module.sideband.google_storage_bucket.source
}

moved {
  from = google_storage_bucket_iam_member.build_reads_source
  to   = module.sideband.google_storage_bucket_iam_member.build_reads_source
}

moved {
  from = google_storage_bucket_object.function
  to   = module.sideband.google_storage_bucket_object.function
}

moved {
  from = module.autoscaling
  to   = module.sideband.module.autoscaling
}

moved {
  from = terraform_data.first_image
  to   = module.sideband.terraform_data.first_image
}
