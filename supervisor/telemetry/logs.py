"""Logs: one JSON object a line in Cloud Logging's shape; plain lines on a terminal.

Personal data and secrets do not get there: what is said, numbers, addresses and keys are replaced, whoever logs them,
libraries and stack traces included. Of an exception its type and places are told, and not its message, since a tool's
tells what it was given. `LOG_PERSONAL_DATA=true` lets personal data pass, and never secrets.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import structlog
from opentelemetry import trace
from structlog.processors import ExceptionRenderer, format_exc_info
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from supervisor.errors import SidebandError

PERSONAL_FIELDS = frozenset({"arguments", "context", "output", "sip_headers", "state", "text", "transcript"})
"""Fields whose values are replaced whole."""

_IDS = frozenset({"call_id", "message_id", "severity", "time", "tool_call_id", "trace_id"})
_LONGEST = 8192  # characters of one string that are looked at and written; every other call waits meanwhile
_SEAM = 100  # characters, beside what was cut out of a string, in which half a number or a key may stand
_SECRET = re.compile(r"\b(?:sk|ek|whsec)[-_][\w+/=-]{8,}|(?<=Bearer )\S{8,}")
_PERSONAL = re.compile(
    r"\b(?:sips?|tel):[^\s<>;,\"']+"  # addresses
    r"|(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++"
    r"|\+\d(?:[ ().-]{0,2}\d){6,14}"  # numbers with a country code, without one, as in America, and accounts
    r"|(?<![\w.:/+-])0\d{1,4}(?:[ -]\d{2,8}){1,4}\b"
    r"|(?<![\w.:/+-])(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])"
    r"|\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"
    r"|(?<![\w.:/+-])[2-6]\d{3}(?:(?:[ -]\d{4}){3}|[ -]\d{6}[ -]\d{5})(?![\w-])"  # cards
    r"|(?<![\w.:/+-])(?<!message )(?:\d{8,15}|[2-6]\d{15,18})(?![\w:/-]|\.\d)"  # numbers without separators, and cards
)


def set_up(level: str, *, project: str, personal_data: bool = False, counters: Sequence[Processor] = ()) -> None:
    """Send logs of this level and above to standard output, those of libraries from WARNING on.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        project: the id of the Google Cloud project, which a line's trace is named after.
        personal_data: whether personal data may be logged.
        counters: see every line from INFO on, whatever the level.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    if sys.stdout.isatty():
        rendered: list[Processor] = [_Redact(personal_data=personal_data), structlog.dev.ConsoleRenderer()]
    else:
        rendered = [
            format_exc_info if personal_data else ExceptionRenderer(_without_messages),
            _Redact(personal_data=personal_data),
            _CloudLogging(project),
            structlog.processors.JSONRenderer(),
        ]
    structlog.configure(
        processors=[*shared, *counters, _AtLeast(level), *rendered],
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


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level]


def _without_messages(exc_info: ExcInfo) -> str:
    return "".join(_types_and_places(exc_info[1], set())).rstrip()


def _types_and_places(error: BaseException | None, told: set[int]) -> Iterator[str]:
    """A traceback whose only messages are those of our own exceptions; `told` are the ids of those that it has."""
    chain: list[BaseException] = []
    while error is not None and id(error) not in told:
        told.add(id(error))
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for link in reversed(chain):
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(link.__traceback__)
        message = str(link) if isinstance(link, SidebandError) else "[not logged]"
        yield f"{type(link).__module__}.{type(link).__qualname__}: {message}\n\n".removeprefix("builtins.")
        for inner in link.exceptions if isinstance(link, BaseExceptionGroup) else ():
            yield from _types_and_places(inner, told)


class _AtLeast:
    """Drops lines below a level."""

    def __init__(self, level: str) -> None:
        self._least = _number(level)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if _number(event["level"].upper()) < self._least:
            raise structlog.DropEvent
        return event


class _Redact:
    """Replaces secrets, and personal data unless it is allowed."""

    def __init__(self, *, personal_data: bool) -> None:
        self._personal_data = personal_data

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: value if key in _IDS else self._redacted(key, value) for key, value in event.items()}

    def _redacted(self, key: str, value: Any) -> Any:
        if key in PERSONAL_FIELDS and not self._personal_data:
            return "[personal]"
        match value:
            case str() if len(value) <= _LONGEST:
                return self._cleaned(value)
            case str():
                head, tail = self._cleaned(value[: _LONGEST // 2]), self._cleaned(value[-_LONGEST // 2 :])
                cut = f"[{len(value) - _LONGEST + 2 * _SEAM} characters or so are left out]"
                return f"{head[:-_SEAM]} {cut} {tail[_SEAM:]}"
            case dict():
                return {name: self._redacted(str(name), inner) for name, inner in value.items()}
            case list() | tuple():
                return [self._redacted("", inner) for inner in value]
            case _:
                return value

    def _cleaned(self, text: str) -> str:
        clean = _SECRET.sub("[secret]", text)
        return clean if self._personal_data else _PERSONAL.sub("[personal]", clean)


class _CloudLogging:
    """Names the fields as Cloud Logging reads them, and the line's place in its call's trace."""

    def __init__(self, project: str) -> None:
        self._project = project

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["severity"] = event.pop("level").upper()
        event["message"] = event.pop("event")
        if "exception" in event:
            event["stack_trace"] = event.pop("exception")  # where Error Reporting looks for it
        if trace_id := event.pop("trace_id", None):
            event["logging.googleapis.com/trace"] = f"projects/{self._project}/traces/{trace_id}"
            span = trace.get_current_span()
            if span.is_recording():
                event["logging.googleapis.com/spanId"] = f"{span.get_span_context().span_id:016x}"
        return event
