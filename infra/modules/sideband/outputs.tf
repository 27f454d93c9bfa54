output "function_url" {
  description = "Where the function is: the webhook's path on it is /webhooks/openai."
  value       = local.function_url
}

output "images_url" {
  description = "Where images are kept."
  value       = local.images_url
}

output "max_calls" {
  description = "How many calls one supervisor holds at once."
  value       = local.max_calls
}

output "subscription" {
  description = "The claim subscription's id."
  value       = google_pubsub_subscription.claims.name
}

output "supervisor_account" {
  description = "The service account that the supervisors, and so your agent's tools, run as: grant it what they need."
  value       = google_service_account.supervisor.email
}

output "webhook_url" {
  description = "What OpenAI's webhook endpoint for realtime.call.incoming points to."
  value       = "${local.function_url}/webhooks/openai"
}

output "worker_pool" {
  description = "The name of the supervisors' worker pool."
  value       = google_cloud_run_v2_worker_pool.supervisor.name
}
