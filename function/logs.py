"""Logs as Cloud Logging reads them: one JSON object a line, on stdout.

It has `severity`, `message` and what a log call passes as `extra`. Standard library only, for the sake of cold starts.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class CloudLoggingFormatter(logging.Formatter):
    """Formats records as lines of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line of JSON, without its end."""
        entry = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(),
            "logger": record.name,
        }
        entry |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            entry["stack_trace"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure() -> None:
    """Send the whole process's logs, libraries' included, to stdout."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(CloudLoggingFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


class Sampler:
    """Bounds the log lines that strangers can cause.

    So many of each kind are written in each period, and the others are counted.

    The kinds must be few, since they are remembered.
    """

    def __init__(self, lines: int = 10, seconds: float = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._periods: dict[str, tuple[float, int]] = {}

    def count(self, kind: str) -> int | None:
        """Count a line; returns how many were left out before it.

        None: this one is to be left out, too.
        """
        with self._lock:
            now = self._clock()
            began, seen = self._periods.get(kind, (now, 0))
            left_out = 0
            if now - began >= self._seconds:
                left_out = max(0, seen - self._lines)
                began, seen = now, 0
            self._periods[kind] = (began, seen + 1)
            return left_out if seen < self._lines else None
