# Call records, in a database of their own, which forgets them by itself.

locals {
  records_collection    = "calls"
  records_database_path = "projects/${var.project_id}/databases/${google_firestore_database.records.name}"
}

resource "google_firestore_database" "records" {
  name                              = var.name
  location_id                       = var.region
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "OPTIMISTIC"
  app_engine_integration_mode       = "DISABLED"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.deletion_protection.records ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = var.deletion_protection.records ? "ABANDON" : "DELETE"
  depends_on                        = [google_project_service.this]
}

# The store writes `expire_at` when a call ends; Firestore deletes the document at that time or soon after.
resource "google_firestore_field" "expiry" {
  database   = google_firestore_database.records.name
  collection = local.records_collection
  field      = "expire_at"
  ttl_config {}
  index_config {} # nothing is looked up by it
}
