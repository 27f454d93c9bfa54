"""Logs: one JSON object a line, as Cloud Logging reads it.

On a terminal the lines are for people.

Personal data and secrets do not get there (`redaction`). Of an exception its type and its places in the code are
logged, and not its message, since that of a tool's exception repeats what the tool was given. `LOG_PERSONAL_DATA=true`
lets personal data pass, and never secrets. What is logged is declared in `events`.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Sequence

import structlog
from opentelemetry import trace
from structlog.processors import ExceptionRenderer, format_exc_info
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from supervisor.errors import SidebandError
from supervisor.telemetry.redaction import redact


def set_up(level: str, *, project: str, personal_data: bool = False, counters: Sequence[Processor] = ()) -> None:
    """Log to standard output from this level on.

    What libraries log is there from WARNING on.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        project: the id of the Google Cloud project, after which a line's trace is named.
        personal_data: whether personal data may be logged.
        counters: processors that see every line from INFO on, whatever the level.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    rendered = _rendering(project, personal_data=personal_data)
    structlog.configure(
        processors=[*shared, *counters, _at_least(level), *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(min(logging.INFO, _number(level))),
        cache_logger_on_first_use=True,
    )
    of_libraries = logging.StreamHandler(sys.stdout)
    of_libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(handlers=[of_libraries], level=logging.WARNING, force=True)


def _rendering(project: str, *, personal_data: bool) -> list[Processor]:
    """Turn a line's fields into its text.

    On a terminal that is for people, elsewhere for Cloud Logging.
    """

    def redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return redact(event, personal_data=personal_data)

    if sys.stdout.isatty():
        return [redacted, structlog.dev.ConsoleRenderer()]
    return [
        format_exc_info if personal_data else ExceptionRenderer(_without_messages),
        redacted,
        _cloud_logging(project),
        structlog.processors.JSONRenderer(),
    ]


def _at_least(level: str) -> Processor:
    """Drop lines below a level."""
    least = _number(level)

    def drop(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if _number(event["level"].upper()) < least:
            raise structlog.DropEvent
        return event

    return drop


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level]


def _cloud_logging(project: str) -> Processor:
    """Name fields as Cloud Logging reads them.

    A line also gets its place in the trace of its call.
    """

    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["severity"] = event.pop("level").upper()
        event["message"] = event.pop("event")
        if "exception" in event:
            event["stack_trace"] = event.pop("exception")  # where Error Reporting looks for it
        if trace_id := event.pop("trace_id", None):
            event["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace_id}"
            span = trace.get_current_span()
            if span.is_recording():
                event["logging.googleapis.com/spanId"] = f"{span.get_span_context().span_id:016x}"
        return event

    return name


def _without_messages(exc_info: ExcInfo) -> str:
    return "".join(_types_and_places(exc_info[1], set())).rstrip()


def _types_and_places(error: BaseException | None, seen: set[int]) -> Iterator[str]:
    """Render a traceback whose only messages are those of our own exceptions.

    `seen` holds the ids of exceptions that are rendered already, since a chain may lead back to itself.
    """
    chain: list[BaseException] = []
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for link in reversed(chain):
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(link.__traceback__)
        message = str(link) if isinstance(link, SidebandError) else "[not logged]"
        yield f"{type(link).__module__}.{type(link).__qualname__}: {message}\n\n".removeprefix("builtins.")
        for inner in link.exceptions if isinstance(link, BaseExceptionGroup) else ():
            yield from _types_and_places(inner, seen)
