terraform {
  # 1.11 brought write-only arguments: no secret value ever reaches the state.
  required_version = ">= 1.11"

  # The root that calls the module chooses among these, and configures google.
  required_providers {
    archive = {
      source  = "hashicorp/archive"
      version = ">= 2.8, < 3.0"
    }
    google = {
      source  = "hashicorp/google"
      version = ">= 8.7, < 9.0"
    }
  }
}
