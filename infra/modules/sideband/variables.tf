variable "agent" {
  description = "The agent that answers, as module:attribute; the module's first part is the folder that goes into the image. For the first image and the trigger: a build by hand is told itself, see docs/deploy.md."
  type        = string
  default     = "examples.bikes:agent"
  validation {
    condition     = can(regex("^[A-Za-z_][\\w.]*:[A-Za-z_]\\w*$", var.agent))
    error_message = "Write the agent as module:attribute, such as examples.bikes:agent."
  }
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
  validation {
    condition     = alltrue([for channel in var.alerts.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", channel))])
    error_message = "Write each channel as projects/PROJECT/notificationChannels/NUMBER, as `gcloud beta monitoring channels list` shows it."
  }
  validation {
    condition     = var.alerts.runbook_url == null || can(regex("^https?://[^\\s#]+$", var.alerts.runbook_url))
    error_message = "Write the runbook's URL as https://HOST/PATH, without a #."
  }
  validation {
    condition     = var.alerts.usd_per_hour > 0
    error_message = "An alert at 0 USD an hour would never end."
  }
}

variable "autoscaling" {
  description = "Scale the supervisors by live calls, between two bounds; null leaves their number as it is."
  type = object({
    min_instances = optional(number, 2)
    max_instances = optional(number, 20)
    image         = optional(string, "us-central1-docker.pkg.dev/cloud-run-oss-images/crema-v1/autoscaler:1.2")
  })
  default = null
  validation {
    condition = var.autoscaling == null ? true : (
      var.autoscaling.min_instances >= 1
      && var.autoscaling.max_instances >= var.autoscaling.min_instances
      && alltrue([for number in [var.autoscaling.min_instances, var.autoscaling.max_instances] : floor(number) == number])
    )
    error_message = "Both bounds are whole numbers: min_instances at least 1, or nobody answers, and max_instances at least that."
  }
}

variable "browsers" {
  description = "Turns calls from browsers on: the pages that may call, and how their tokens are checked (a shared secret unless there is a JWKS URL)."
  type = object({
    allowed_origins = list(string)
    token_audience  = optional(string, "sideband")
    token_jwks_url  = optional(string)
  })
  default = null
  validation {
    condition = var.browsers == null ? true : alltrue([
      for origin in var.browsers.allowed_origins : can(regex("^https?://[a-z0-9.-]+(:[0-9]+)?$", origin))
    ])
    error_message = "Write each origin as browsers do: https://shop.example, in small letters, without a path, a last / or *."
  }
  validation {
    condition = var.browsers == null ? true : (
      length(var.browsers.token_audience) > 0
      && (var.browsers.token_jwks_url == null || can(regex("^https?://\\S+$", var.browsers.token_jwks_url)))
    )
    error_message = "token_audience is not empty, and token_jwks_url, where there is one, begins with https://."
  }
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
  validation {
    condition     = contains([1, 2, 4, 6, 8], var.function.cpu)
    error_message = "Cloud Run gives 1, 2, 4, 6 or 8 CPUs (with less than one it sends one request at a time)."
  }
  validation {
    condition     = var.function.concurrency >= 4 && var.function.concurrency <= 1000 && floor(var.function.concurrency) == var.function.concurrency
    error_message = "The function serves 4 to 1000 requests at a time."
  }
  validation {
    condition = (
      var.function.min_instances >= 0
      && var.function.max_instances >= max(1, var.function.min_instances)
      && alltrue([for number in [var.function.min_instances, var.function.max_instances] : floor(number) == number])
    )
    error_message = "Both are whole numbers: max_instances at least 1 and no less than min_instances."
  }
  validation {
    condition     = var.function.memory_mib >= 512 && var.function.memory_mib <= 4096 * var.function.cpu && floor(var.function.memory_mib) == var.function.memory_mib
    error_message = "Cloud Run gives 512 MiB of memory or more, and 4096 for each CPU at most."
  }
}

variable "labels" {
  description = "Labels for everything that takes labels, beside app."
  type        = map(string)
  default     = {}
  nullable    = false
  validation {
    condition = alltrue([
      for key, value in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))
    ])
    error_message = "Keys and values of labels are small letters, digits, hyphens and underscores, 63 at most; a key begins with a letter."
  }
}

variable "name" {
  description = "What every resource's name begins with."
  type        = string
  default     = "sideband"
  nullable    = false
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,16}[a-z0-9]$", var.name))
    error_message = "Use 4 to 18 small letters, digits and hyphens, with a letter first and no hyphen last: service accounts and the records' database are named after it."
  }
}

variable "openai" {
  description = "OpenAI's REST endpoint: https://eu.api.openai.com/v1 for projects with European residency."
  type = object({
    base_url = optional(string, "https://api.openai.com/v1")
  })
  default  = {}
  nullable = false
  validation {
    condition     = can(regex("^https?://[^/\\s]+/\\S*[^/\\s]$", var.openai.base_url))
    error_message = "Write it as https://HOST/v1."
  }
}

variable "openai_api_key" {
  description = "The key of the OpenAI project that owns the calls, for the version that secret_versions asks for; neither stored nor shown."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = var.secret_versions.openai_api_key == 0 || can(regex("^\\S+$", var.openai_api_key))
    error_message = "Give the key, without spaces, in TF_VAR_openai_api_key; or set secret_versions.openai_api_key to 0 and add its versions yourself."
  }
}

variable "openai_webhook_secret" {
  description = "The signing secret of OpenAI's webhook endpoint (whsec_...), for the version that secret_versions asks for; neither stored nor shown."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
  validation {
    condition = var.secret_versions.openai_webhook_secret == 0 || try(alltrue([
      for secret in split(" ", var.openai_webhook_secret) :
      can(regex("^whsec_([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$", secret))
    ]), false)
    error_message = "Give whsec_ and what follows, whole, in TF_VAR_openai_webhook_secret (two with a space between during a rotation); or set secret_versions.openai_webhook_secret to 0 and add its versions yourself."
  }
}

variable "project_id" {
  description = "The Google Cloud project's id."
  type        = string
  nullable    = false
  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "Give the project's id, such as my-project, which is not its name: `gcloud projects list` shows both."
  }
}

variable "region" {
  description = "The region of everything: exactly-once delivery holds only where subscription and subscribers share one."
  type        = string
  nullable    = false
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "Give one region, such as europe-west4; a zone (europe-west4-a) or a multi-region (eu) is none."
  }
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
  validation {
    condition     = alltrue([for version in values(var.secret_versions) : version >= 0 && floor(version) == version])
    error_message = "Versions are whole numbers, 0 or more."
  }
}

variable "source_code" {
  description = "Where the agent's code is: a folder, such as path.root, with a Dockerfile for the first image and, where browsers may call, sessions.json. Not needed with a supervisor_image and without browsers."
  type = object({
    folder     = string
    dockerfile = optional(string, "Dockerfile")
  })
  default = null
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
  validation {
    condition     = contains([1, 2, 4, 6, 8], var.supervisor.cpu)
    error_message = "Cloud Run gives 1, 2, 4, 6 or 8 CPUs."
  }
  validation {
    condition     = var.supervisor.instances >= 1 && floor(var.supervisor.instances) == var.supervisor.instances
    error_message = "At least one supervisor must run, or nobody answers."
  }
  validation {
    condition     = var.supervisor.lease_seconds >= 10 && var.supervisor.lease_seconds <= 600 && floor(var.supervisor.lease_seconds) == var.supervisor.lease_seconds
    error_message = "Pub/Sub's leases last 10 to 600 whole seconds."
  }
  validation {
    condition     = var.supervisor.memory_mib >= 512 && var.supervisor.memory_mib <= 4096 * var.supervisor.cpu && floor(var.supervisor.memory_mib) == var.supervisor.memory_mib
    error_message = "Cloud Run gives 512 MiB of memory or more, and 4096 for each CPU at most."
  }
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
  validation {
    condition     = var.secret_versions.token_secret == 0 || !local.browsers_share_secret || can(regex("^\\S{32,}( \\S{32,})*$", var.token_secret))
    error_message = "Calls from browsers need a secret of 32 characters or more, without spaces, in TF_VAR_token_secret; or set secret_versions.token_secret to 0 and add its versions yourself."
  }
}

variable "transfer_targets" {
  description = "Where agents may transfer calls to: patterns such as tel:+3120* and sip:*@pbx.example.com; empty for nowhere."
  type        = list(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for target in var.transfer_targets : can(regex("^(tel:[+*?[]|sips?:[^\\s@*]*[@*]|[*])\\S*$", target))])
    error_message = "Write each as a pattern that a URI can match, without spaces: tel:+3120*, sip:*@pbx.example.com."
  }
}
