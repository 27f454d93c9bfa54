# One screen: are calls taken, held and ended well, and what do they cost?

locals {
  _charts = {
    "Calls in hand, and room for"              = [local.in_hand, "sum(sideband_calls_max{${local._ours}})"]
    "Notices that nobody holds"                = ["${local.unacked} - ${local.in_hand}"]
    "From the webhook to each stage, p95 (s)"  = ["histogram_quantile(0.95, sum by (le, stage) (rate(sideband_stage_seconds_bucket{${local._ours}}[5m])))"]
    "Without an owner, p95 by cause (s)"       = ["histogram_quantile(0.95, sum by (le, cause) (rate(sideband_orphan_seconds_bucket{${local._ours}}[10m])))"]
    "Ends per minute, by reason"               = ["sum by (reason) (rate(sideband_calls_ended_total{${local._ours}}[5m])) * 60"]
    "Hand-overs, lost leases, re-attaches"     = [for metric in ["handovers", "lost_leases", "reattaches"] : "sum(increase(sideband_${metric}_total{${local._ours}}[5m]))"]
    "Tool time, p95 by tool (s)"               = ["histogram_quantile(0.95, sum by (le, tool) (rate(sideband_tool_seconds_bucket{${local._ours}}[5m])))"]
    "Tool errors per minute, by tool and kind" = ["sum by (tool, error) (rate(sideband_tool_errors_total{${local._ours}}[5m])) * 60"]
    "Leases held, and tasks"                   = ["sum(sideband_leases{${local._ours}})", "sum(sideband_tasks{${local._ours}})"]
    "Cost per hour (USD)"                      = ["sum(rate(sideband_cost_usd_total{${local._ours}}[15m])) * 3600"]
    "Webhooks per minute, by answer"           = ["sum by (response_code_class) (rate(run_googleapis_com:request_count{monitored_resource=\"cloud_run_revision\",service_name=\"${local.function_name}\"}[5m])) * 60"]
  }
}

resource "google_monitoring_dashboard" "this" {
  project = var.project_id
  dashboard_json = jsonencode({
    displayName = var.name
    labels      = { app = "" }
    gridLayout = {
      columns = 2
      widgets = [for title, queries in local._charts : {
        title = title
        xyChart = {
          dataSets = [for query in queries : {
            plotType        = "LINE"
            timeSeriesQuery = { prometheusQuery = query }
          }]
        }
      }]
    }
  })
  depends_on = [google_project_service.this]
}
