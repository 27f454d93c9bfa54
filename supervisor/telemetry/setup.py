"""Telemetry of one process: logs, metrics and traces, set up together; and what a call's code says of itself.

A call's trace begins with the webhook, whose `traceparent` comes with the notice, and goes on with whoever owns the
call: where no trace was begun, its id is made from the call's id, so that all owners tell one story. Spans name what
was done and never what was said.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import google.auth
from google.auth.transport.requests import AuthorizedSession
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from requests import Session

from supervisor.errors import StartupError
from supervisor.settings import Settings
from supervisor.telemetry import logs
from supervisor.telemetry.metrics import Metrics

EXPORT_SECONDS = 5.0  # for one export; the next may have more luck
FLUSH_SECONDS = 1.0  # at the end, between the hand-over and being killed

P = ParamSpec("P")
T = TypeVar("T")

_tracer = trace.get_tracer("sideband")
_propagator = TraceContextTextMapPropagator()


class Telemetry:
    """What was set up, until `shut_down`."""

    def __init__(self, settings: Settings) -> None:
        """Set up logs and metrics, and traces where there is an endpoint for them.

        Raises:
            StartupError: the endpoint is Google's, and there are no credentials for it.
        """
        endpoint = settings.otel_exporter_otlp_endpoint
        resource = Resource.create(
            {
                "service.name": "sideband-supervisor",
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
                "gcp.project_id": settings.google_cloud_project,
            }
        )
        readers: list[MetricReader] = [PrometheusMetricReader(scope_info_enabled=False)]
        self._traces: TracerProvider | None = None
        if endpoint:
            session = _session(endpoint)
            readers.append(
                PeriodicExportingMetricReader(
                    OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=EXPORT_SECONDS, session=session)
                )
            )
            self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._traces.add_span_processor(
                BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=EXPORT_SECONDS, session=session))
            )
            trace.set_tracer_provider(self._traces)
        self._meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        metrics.set_meter_provider(self._meters)  # tools may have metrics of their own
        counted = Metrics(self._meters.get_meter("sideband"), lease_seconds=settings.lease_seconds)
        logs.set_up(
            settings.log_level,
            project=settings.google_cloud_project,
            personal_data=settings.log_personal_data,
            counters=[counted.count],
        )

    def shut_down(self) -> None:
        """Send what is left, for a second at most: the process is about to be killed, and its calls are with others."""

        def send() -> None:
            self._meters.shutdown()
            if self._traces is not None:
                self._traces.shutdown()

        sending = threading.Thread(target=send, name="flush telemetry", daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)


def _session(endpoint: str) -> Session:
    """Google's endpoint wants Google's credentials; a collector of one's own wants none."""
    if not (urlsplit(endpoint).hostname or "").endswith(".googleapis.com"):
        return Session()
    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise StartupError(f"OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}: {error}") from error
    return AuthorizedSession(credentials)
