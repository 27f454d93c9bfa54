"""Logs: one JSON object a line in Cloud Logging's shape; plain lines on a terminal."""

from __future__ import annotations

import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def _cloud_logging(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Name the fields as Cloud Logging reads them."""
    event["severity"] = {"exception": "ERROR"}.get(method, method).upper()
    event["message"] = event.pop("event")
    return event


def set_up_logs(level: str) -> None:
    """Send logs of this level and above to standard output."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    if sys.stdout.isatty():
        rendered: list[Processor] = [structlog.processors.add_log_level, structlog.dev.ConsoleRenderer()]
    else:
        rendered = [structlog.processors.format_exc_info, _cloud_logging, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
