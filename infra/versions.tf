terraform {
  required_version = ">= 1.11"

  # Exact, since no lock file is committed: everybody gets the same providers.
  required_providers {
    archive = {
      source  = "hashicorp/archive"
      version = "2.8.1"
    }
    google = {
      source  = "hashicorp/google"
      version = "8.7.0"
    }
  }
}
