output "config" {
  description = "CREMA's configuration, as YAML."
  value       = yamlencode(local.config)
}
