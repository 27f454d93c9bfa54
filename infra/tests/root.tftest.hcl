# The root of a clone: what it is given reaches the module, whose own tests hold what is made of it. Every provider is a
# stand-in: no cloud is asked.

mock_provider "google" {}
mock_provider "archive" {}

override_data {
  target = module.sideband.data.google_project.this
  values = { number = "123456789012" }
}

variables {
  project_id            = "a-project"
  region                = "europe-west4"
  openai_api_key        = "sk-never-in-a-state"
  openai_webhook_secret = "whsec_bmV2ZXIgaW4gYSBzdGF0ZQ=="
  token_secret          = "never-in-a-state-never-in-a-state"
}

run "what_is_set_reaches_the_module" {
  command = apply
  variables {
    name             = "four"
    supervisor       = { cpu = 2, memory_mib = 512 }
    supervisor_image = "europe-west4-docker.pkg.dev/a-project/sideband/supervisor@sha256:0123"
  }
  assert {
    condition     = output.max_calls == 192 && output.subscription == "four-claims"
    error_message = "Sizes and names are the caller's."
  }
  assert {
    condition     = output.webhook_url == "https://four-function-123456789012.europe-west4.run.app/webhooks/openai"
    error_message = "The address comes out of the module."
  }
}

run "what_is_left_out_has_the_modules_defaults" {
  command = plan
  assert {
    condition     = output.max_calls == 200 && output.worker_pool == "sideband-supervisor"
    error_message = "The root has the module's defaults."
  }
}
