"""Set up the logs, metrics and traces of one process."""

from __future__ import annotations

import os
import socket
import threading
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
from requests import Session

from supervisor.errors import StartupError
from supervisor.settings import Settings
from supervisor.telemetry import logs
from supervisor.telemetry.metrics import Metrics

EXPORT_SECONDS = 5.0  # for one export; the next may have more luck
FLUSH_SECONDS = 1.0  # at the end, between the hand-over and being killed


class Telemetry:
    """Log, count and trace what this process does, until `shut_down`."""

    def __init__(self, settings: Settings) -> None:
        """Set up logs, metrics and traces.

        Traces are made only where there is an endpoint to send them to.

        Raises:
            StartupError: the endpoint is Google's, and there are no credentials for it.
        """
        endpoint, resource = settings.otel_exporter_otlp_endpoint, _resource(settings)
        session = _session(endpoint) if endpoint else None
        self._meters = MeterProvider(_readers(endpoint, session), resource=resource, shutdown_on_exit=False)
        self._tracers = _tracers(endpoint, session, resource) if endpoint else None
        metrics.set_meter_provider(self._meters)  # tools may have metrics of their own
        if self._tracers is not None:
            trace.set_tracer_provider(self._tracers)
        counted = Metrics(self._meters.get_meter("sideband"), lease_seconds=settings.lease_seconds)
        logs.set_up(
            settings.log_level,
            project=settings.google_cloud_project,
            personal_data=settings.log_personal_data,
            counters=[counted.count],
        )

    def shut_down(self) -> None:
        """Send what is left, for a second at most.

        The process is about to be killed, and its calls are with others.
        """

        def send() -> None:
            self._meters.shutdown()
            if self._tracers is not None:
                self._tracers.shutdown()

        sending = threading.Thread(target=send, name="flush telemetry", daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)


def _resource(settings: Settings) -> Resource:
    """Name this process in what it exports."""
    return Resource.create(
        {
            "service.name": "sideband-supervisor",
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            "gcp.project_id": settings.google_cloud_project,
        }
    )


def _readers(endpoint: str, session: Session | None) -> list[MetricReader]:
    """Let Prometheus read metrics, and send them to the endpoint."""
    readers: list[MetricReader] = [PrometheusMetricReader(scope_info_enabled=False)]
    if endpoint:
        exporter = OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=EXPORT_SECONDS, session=session)
        readers.append(PeriodicExportingMetricReader(exporter))
    return readers


def _tracers(endpoint: str, session: Session | None, resource: Resource) -> TracerProvider:
    """Send traces to an endpoint."""
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=EXPORT_SECONDS, session=session)
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(exporter))
    return tracers


def _session(endpoint: str) -> Session:
    """Make an HTTP session, with credentials for Google's endpoint.

    A collector of one's own wants none.
    """
    if not (urlsplit(endpoint).hostname or "").endswith(".googleapis.com"):
        return Session()
    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise StartupError(f"OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}: {error}") from error
    return AuthorizedSession(credentials)
