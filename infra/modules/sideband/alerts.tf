# Alerts, each with its section of the runbook in the message. Not among them: the age of the oldest unacknowledged
# notice, which is the age of the longest call.

locals {
  _claims_labels = "{monitored_resource=\"pubsub_subscription\",subscription_id=\"${google_pubsub_subscription.claims.name}\"}"
  _dead_labels   = "{monitored_resource=\"pubsub_subscription\",subscription_id=\"${google_pubsub_subscription.dead_letters.name}\"}"
  _ours          = "namespace=\"${var.name}\"" # OTLP's service.namespace

  unacked = "sum(pubsub_googleapis_com:subscription_num_undelivered_messages${local._claims_labels})"
  in_hand = "(sum(sideband_calls{${local._ours}}) or vector(0))"

  # By the runbook's headings. `lasts` is for how long it must hold.
  alerts = {
    "Dead letters" = {
      severity = "CRITICAL"
      lasts    = "0s"
      query    = "sum(pubsub_googleapis_com:subscription_num_undelivered_messages${local._dead_labels}) > 0"
    }
    "Calls wait for a supervisor" = {
      severity = "CRITICAL"
      lasts    = "180s"
      query    = "${local.unacked} - ${local.in_hand} > 2"
    }
    "Owners crash" = {
      severity = "ERROR"
      lasts    = "0s"
      query    = "sum(increase(pubsub_googleapis_com:subscription_expired_ack_deadlines_count${local._claims_labels}[5m])) > 0"
    }
    "Calls are claimed late" = {
      severity = "ERROR"
      lasts    = "120s"
      query    = "histogram_quantile(0.95, sum by (le) (rate(sideband_stage_seconds_bucket{${local._ours},stage=\"claimed\"}[5m]))) > 3"
    }
    "Calls are without an owner" = {
      severity = "ERROR"
      lasts    = "0s"
      query    = "histogram_quantile(0.95, sum by (le) (increase(sideband_orphan_seconds_bucket{${local._ours}}[10m]))) > ${var.supervisor.lease_seconds + 2}"
    }
    "Accepted but never attached" = {
      severity = "ERROR"
      lasts    = "0s"
      query    = "sum(increase(sideband_calls_ended_total{${local._ours},reason=\"never_attached\"}[10m])) > 0"
    }
    "Supervisors are full" = {
      severity = "ERROR"
      lasts    = "120s"
      query    = "sum(sideband_calls{${local._ours}}) / sum(sideband_calls_max{${local._ours}}) > 0.9"
    }
    "Tools fail" = {
      severity = "WARNING"
      lasts    = "0s"
      query    = "sum by (tool) (increase(sideband_tool_errors_total{${local._ours}}[30m])) / sum by (tool) (increase(sideband_tool_seconds_count{${local._ours}}[30m])) > 0.05 and sum by (tool) (increase(sideband_tool_seconds_count{${local._ours}}[30m])) > 20"
    }
    "Calls cost too much" = {
      severity = "WARNING"
      lasts    = "0s"
      query    = "sum(increase(sideband_cost_usd_total{${local._ours}}[1h])) > ${var.alerts.usd_per_hour}"
    }
    "Webhooks are answered with errors" = {
      severity = "CRITICAL"
      lasts    = "60s"
      query    = "sum(increase(run_googleapis_com:request_count{monitored_resource=\"cloud_run_revision\",service_name=\"${local.function_name}\",response_code_class=\"5xx\"}[5m])) > 2"
    }
  }

  _runbook = file("${local.root}/docs/runbook.md")
}

resource "google_monitoring_alert_policy" "this" {
  for_each              = local.alerts
  project               = var.project_id
  display_name          = "${var.name}: ${each.key}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = var.alerts.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = each.key
    condition_prometheus_query_language {
      query                     = each.value.query
      duration                  = each.value.lasts
      evaluation_interval       = "60s"
      disable_metric_validation = true # ours appear with the first call
    }
  }

  documentation {
    mime_type = "text/markdown"
    subject   = "${var.name}: ${each.key}"
    # The section itself, so that nobody has to look for it at night; a plan fails when the runbook has none.
    content = replace(trimspace(regex("(?s)\n## ${each.key}\n(.*?)(?:\n## |$)", local._runbook)[0]), "$REGION", var.region)
    dynamic "links" {
      for_each = var.alerts.runbook_url == null ? [] : ["${var.alerts.runbook_url}#${replace(lower(each.key), " ", "-")}"]
      content {
        display_name = "Runbook"
        url          = links.value
      }
    }
  }

  alert_strategy {
    auto_close = "3600s"
  }

  depends_on = [google_project_service.this]
}
