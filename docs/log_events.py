"""Writes docs/log-events.md from the declared log events: `python docs/log_events.py`, or `make docs`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from supervisor.telemetry.events import EVENTS, LogEvent

PAGE = Path(__file__).with_name("log-events.md")


def page() -> str:
    """Return the page's text."""
    return "\n".join(
        (
            "# Log events",
            "",
            "What a supervisor logs, for whoever is on call. A line is a JSON object: `message` is the event, and",
            '`severity` its level. In the Logs Explorer: `jsonPayload.message="claim_lost"`, or all of one call:',
            '`jsonPayload.call_id="rtc_..."`. This page is written by `make docs`.',
            "",
            "Besides the fields below, lines about a call have its `call_id`, and most also its trace and the",
            "`message_id` of its notice. Not every line has all fields of its event. `error` and `cause` say what",
            "went wrong, `action` what follows or what to do, and `stack_trace` where in the code; `age_seconds`",
            "counts from the webhook. Personal data is in none of them. Libraries log in the same shape, with their",
            "`logger`.",
            "",
            "The function logs sentences instead, by the standard library, since it must start fast. No metric is",
            "counted from them, as Cloud Run counts its requests and answers.",
            "",
            *(line for title, events in EVENTS.items() for line in _table(title, events)),
        )
    )


def _table(title: str, events: Sequence[LogEvent]) -> list[str]:
    header = ("| event | severity | meaning | fields | counted by |", "|---|---|---|---|---|")
    return [f"## {title}", "", *header, *map(_row, events), ""]


def _row(event: LogEvent) -> str:
    fields, metrics = _code(event.fields), _code(event.counted_by)
    return f"| `{event.name}` | {event.level} | {event.meaning} | {fields} | {metrics} |"


def _code(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split())


if __name__ == "__main__":
    PAGE.write_text(page())
