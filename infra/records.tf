# Call records, in a database of their own, which forgets them by itself.

locals {
  # Collections, and in each the field with what is kept, as JSON.
  records_fields        = { calls = "head", journal = "entry", transcript = "segment" }
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

# The store writes `expires_at` into each document; Firestore deletes it at that time or soon after.
resource "google_firestore_field" "expiry" {
  for_each   = local.records_fields
  database   = google_firestore_database.records.name
  collection = each.key
  field      = "expires_at"
  ttl_config {}
  index_config {} # nothing is looked up by it
}

resource "google_firestore_field" "json" {
  for_each   = local.records_fields
  database   = google_firestore_database.records.name
  collection = each.key
  field      = each.value
  index_config {} # nor by this
}
