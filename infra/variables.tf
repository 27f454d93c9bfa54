# Written by `make docs` from modules/sideband/variables.tf, which validates them.

variable "agent" {
  description = "The agent that answers, as module:attribute; the module's first part is the folder that goes into the image. For the first image and the trigger: a build by hand is told itself, see docs/deploy.md."
  type        = string
  default     = "examples.bikes:agent"
}

variable "alerts" {
  description = "Whom alerts tell (Monitoring's notification channels, by their full names; nobody unless set), a URL of the runbook to link to, and what an hour's calls may cost."
  type = object({
    notification_channels = optional(list(string), [])
    runbook_url           = optional(string)
    usd_per_hour          = optional(number, 50)
  })
  default  = {}
  nullable = false
}

variable "autoscaling" {
  description = "Scale the supervisors by live calls, between two bounds; null leaves their number as it is."
  type = object({
    min_instances = optional(number, 2)
    max_instances = optional(number, 20)
    image         = optional(string, "us-central1-docker.pkg.dev/cloud-run-oss-images/crema-v1/autoscaler:1.2")
  })
  default = null
}

variable "browsers" {
  description = "Turns calls from browsers on: the pages that may call, and how their tokens are checked (a shared secret unless there is a JWKS URL)."
  type = object({
    allowed_origins = list(string)
    token_audience  = optional(string, "sideband")
    token_jwks_url  = optional(string)
  })
  default = null
}

variable "build_trigger" {
  description = "Run cloudbuild.yaml on pushes to a connected repository (a Cloud Build repository's full name); null for no trigger."
  type = object({
    repository = string
    branch     = optional(string, "^main$")
  })
  default = null
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete the workloads, and the records with their database."
  type = object({
    records   = optional(bool, true)
    workloads = optional(bool, true)
  })
  default  = {}
  nullable = false
}

variable "function" {
  description = "The size of the function: instances kept warm, the most there may be, and requests that one serves at a time."
  type = object({
    concurrency   = optional(number, 32)
    cpu           = optional(number, 1)
    max_instances = optional(number, 10)
    memory_mib    = optional(number, 512)
    min_instances = optional(number, 1)
  })
  default  = {}
  nullable = false
}

variable "labels" {
  description = "Labels for everything that takes labels, beside app."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "name" {
  description = "What every resource's name begins with."
  type        = string
  default     = "sideband"
  nullable    = false
}

variable "openai" {
  description = "OpenAI's REST endpoint: https://eu.api.openai.com/v1 for projects with European residency."
  type = object({
    base_url = optional(string, "https://api.openai.com/v1")
  })
  default  = {}
  nullable = false
}

variable "openai_api_key" {
  description = "The key of the OpenAI project that owns the calls, for the version that secret_versions asks for; neither stored nor shown."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "openai_webhook_secret" {
  description = "The signing secret of OpenAI's webhook endpoint (whsec_...), for the version that secret_versions asks for; neither stored nor shown."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "project_id" {
  description = "The Google Cloud project's id."
  type        = string
  nullable    = false
}

variable "region" {
  description = "The region of everything: exactly-once delivery holds only where subscription and subscribers share one."
  type        = string
  nullable    = false
}

variable "secret_versions" {
  description = "Raise one to write that secret anew from its variable; 0 leaves its versions to you. The latest version is used."
  type = object({
    openai_api_key        = optional(number, 1)
    openai_webhook_secret = optional(number, 1)
    token_secret          = optional(number, 1)
  })
  default  = {}
  nullable = false
}

variable "supervisor" {
  description = "The size of a supervisor, and how many there are at first: two, so that one can take over from the other."
  type = object({
    cpu           = optional(number, 1)
    instances     = optional(number, 2)
    lease_seconds = optional(number, 15)
    memory_mib    = optional(number, 1024)
  })
  default  = {}
  nullable = false
}

variable "supervisor_image" {
  description = "The image that the supervisors start with; null has the first apply build it from source_code by Cloud Build."
  type        = string
  default     = null
}

variable "token_secret" {
  description = "What your backend signs browsers' tokens with, for the version that secret_versions asks for; neither stored nor shown."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
}

variable "transfer_targets" {
  description = "Where agents may transfer calls to: patterns such as tel:+3120* and sip:*@pbx.example.com; empty for nowhere."
  type        = list(string)
  default     = []
  nullable    = false
}
