# Call records, in a database of their own, which forgets them by itself.

locals {
  records_database_path = "projects/${var.project_id}/databases/${google_firestore_database.records.name}"

  # The store's collections, each with the JSON in its documents, which nothing is looked up by.
  records_collections = {
    calls      = "head"
    journal    = "entry"
    transcript = "segment"
  }
}

resource "google_firestore_database" "records" {
  project                           = var.project_id
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

# The store says when a document is to go; Firestore deletes it at that time or soon after.
resource "google_firestore_field" "expiry" {
  for_each   = local.records_collections
  project    = var.project_id
  database   = google_firestore_database.records.name
  collection = each.key
  field      = "expires_at"
  ttl_config {}
  index_config {}
}

resource "google_firestore_field" "json" {
  for_each   = local.records_collections
  project    = var.project_id
  database   = google_firestore_database.records.name
  collection = each.key
  field      = each.value
  index_config {}
}
