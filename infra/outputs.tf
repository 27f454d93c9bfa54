# Written by `make docs` from modules/sideband/outputs.tf.

output "function_url" {
  description = "Where the function is: the webhook's path on it is /webhooks/openai."
  value       = module.sideband.function_url
}

output "images_url" {
  description = "Where images are kept."
  value       = module.sideband.images_url
}

output "max_calls" {
  description = "How many calls one supervisor holds at once."
  value       = module.sideband.max_calls
}

output "subscription" {
  description = "The claim subscription's id."
  value       = module.sideband.subscription
}

output "supervisor_account" {
  description = "The service account that the supervisors, and so your agent's tools, run as: grant it what they need."
  value       = module.sideband.supervisor_account
}

output "webhook_url" {
  description = "What OpenAI's webhook endpoint for realtime.call.incoming points to."
  value       = module.sideband.webhook_url
}

output "worker_pool" {
  description = "The name of the supervisors' worker pool."
  value       = module.sideband.worker_pool
}
