"""Logs: one line of JSON each, and a bound on what strangers can cause."""

import json
import logging
from typing import Any

from function.logs import CloudLoggingFormatter, Sampler


def test_lines_are_sampled() -> None:
    """Of each kind of line some are kept in each minute, and the rest is counted."""
    now = [0.0]
    sampler = Sampler(lines=3, seconds=60, clock=lambda: now[0])
    assert [sampler.count("a") for _ in range(10)] == [0, 0, 0] + [None] * 7
    assert sampler.count("b") == 0
    now[0] = 60
    assert [sampler.count("a") for _ in range(4)] == [7, 0, 0, None]
    now[0] = 120
    assert sampler.count("a") == 1


def entry_of(**record: Any) -> dict[str, Any]:
    """The entry that a log record becomes, which must be on one line."""
    [line] = CloudLoggingFormatter().format(logging.makeLogRecord(record)).splitlines()
    entry: dict[str, Any] = json.loads(line)
    return entry


def test_a_record_becomes_a_json_line() -> None:
    """A log record becomes one line of JSON, with its severity and what was passed as `extra`."""
    entry = entry_of(levelname="WARNING", name="function", msg="Refused\n%s", args=("all",), code="busy", tags={503})
    assert (entry["severity"], entry["message"], entry["logger"]) == ("WARNING", "Refused\nall", "function")
    assert (entry["code"], entry["tags"]) == ("busy", "{503}")
    assert "stack_trace" not in entry


def test_an_exception_has_its_stack_trace() -> None:
    """The line of an exception has its stack trace."""
    error = ZeroDivisionError("by zero")
    assert "ZeroDivisionError: by zero" in entry_of(msg="Broken", exc_info=(type(error), error, None))["stack_trace"]
