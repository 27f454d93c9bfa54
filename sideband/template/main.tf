# Everything on Google Cloud, for this agent.

terraform {
  required_version = ">= 1.11"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }
}

module "sideband" {
  source      = "git::https://git.example/sideband.git//infra/modules/sideband?ref=v0.2.0"
  source_code = { folder = path.root }

  agent                 = "shop:agent"
  project_id            = var.project_id
  region                = var.region
  openai_api_key        = var.openai_api_key
  openai_webhook_secret = var.openai_webhook_secret
}

variable "project_id" {
  description = "The Google Cloud project's id."
  type        = string
}

variable "region" {
  description = "The region of everything, such as europe-west4."
  type        = string
}

variable "openai_api_key" {
  description = "The key of the OpenAI project that owns the calls; never in the state."
  type        = string
  ephemeral   = true
  sensitive   = true
}

variable "openai_webhook_secret" {
  description = "The signing secret of OpenAI's webhook endpoint; never in the state."
  type        = string
  ephemeral   = true
  sensitive   = true
}

output "webhook_url" {
  description = "What OpenAI's webhook endpoint for realtime.call.incoming points to."
  value       = module.sideband.webhook_url
}
