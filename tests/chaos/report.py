"""What a run shows: a table and the violations for people, one JSON line for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emulator.openai import Entry
from tests.chaos.evidence import Evidence
from tests.chaos.oracle import Judgement, Violation
from tests.chaos.ownership import Change

VIOLATIONS_SHOWN = 10
EXCERPT_BEFORE, EXCERPT_AFTER = 14, 6  # entries around the moment of a violation
LEFT_OUT = ("delta", "rate_limits", "content_part", "output_audio.done")  # what says nothing about who did what
CHANGES: dict[Change, str] = {
    "crash": "after a crash",
    "handover": "in a hand-over",
    "double_fault": "after two faults",
    "other": "after a lost socket or lease",
}


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value that this share of them does not exceed; None of none."""
    if not values:
        return None
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 1)


def gaps_ms(judgement: Judgement, change: Change) -> list[float]:
    """Return the gaps of one kind."""
    return [1000 * gap.seconds for gap in judgement.gaps if gap.change == change]


def as_json(judgement: Judgement, evidence: Evidence) -> dict[str, Any]:
    """Return the line for machines."""
    gaps = {change: gaps_ms(judgement, change) for change in CHANGES}
    return {
        "calls": judgement.calls,
        **judgement.counters,
        "tool_calls": judgement.tool_calls,
        "unheard_tools": judgement.unheard_tools,
        "refused_outputs": judgement.refused_outputs,
        "owner_changes": {change: len(values) for change, values in gaps.items()},
        "gap_ms_crash_p50": percentile(gaps["crash"], 0.5),
        "gap_ms_crash_p99": percentile(gaps["crash"], 0.99),
        "gap_ms_handover_p50": percentile(gaps["handover"], 0.5),
        "gap_ms_handover_p99": percentile(gaps["handover"], 0.99),
        "machine_late_seconds": round(_late_seconds(evidence), 1),
    }


def _late_seconds(evidence: Evidence) -> float:
    """Return for how long in all timers rang late."""
    return sum(stall.rang - stall.due for stall in evidence.stalls)


def show(console: Console, judgement: Judgement, evidence: Evidence) -> None:
    """Show a run to a person."""
    counted = Table(box=None, show_header=False)
    for name, count in judgement.counters.items():
        counted.add_row(name.replace("_", " "), f"[bold red]{count}[/]" if count else "[green]0[/]")
    counted.add_row("tool calls", f"{judgement.tool_calls}, of which no owner heard {judgement.unheard_tools}")
    counted.add_row("second outputs refused", str(judgement.refused_outputs))
    counted.add_row("machine late", f"{_late_seconds(evidence):.1f} s in all, which count for nobody")
    gaps = Table("without an owner", "times", "p50 ms", "p99 ms", "most ms", box=None)
    for change, name in CHANGES.items():
        values = gaps_ms(judgement, change)
        shares = [percentile(values, share) for share in (0.5, 0.99, 1.0)]
        gaps.add_row(name, str(len(values)), *("-" if share is None else f"{share:.0f}" for share in shares))
    console.print(counted, gaps, sep="\n")
    for violation in judgement.violations[:VIOLATIONS_SHOWN]:
        console.print(f"\n[red]{escape(one_line(violation))}[/]", soft_wrap=True)
        for line in excerpt(violation, evidence):
            console.print(f"[dim]{escape(line)}[/]", soft_wrap=True)
    if (more := len(judgement.violations) - VIOLATIONS_SHOWN) > 0:
        console.print(f"... and {more} more, in violations.txt")


def one_line(violation: Violation) -> str:
    """Return a violation as one line."""
    return f"{violation.counter}: {violation.call_id or 'all calls'}: {violation.what}"


def excerpt(violation: Violation, evidence: Evidence) -> Iterator[str]:
    """Return the call's timeline around a violation, with what was done to processes.

    The times are seconds since the call was placed.
    """
    log = evidence.logs.get(violation.call_id or "", ())
    if not log:
        return
    placed_at = log[0].monotonic_seconds
    moment = log[-1].monotonic_seconds if violation.at is None else violation.at
    shown = [e for e in log if not any(word in e.type for word in LEFT_OUT)]
    before = [e for e in shown if e.monotonic_seconds <= moment][-EXCERPT_BEFORE:]
    after = [e for e in shown if e.monotonic_seconds > moment][:EXCERPT_AFTER]
    lines = [(e.monotonic_seconds, _line(e)) for e in before + after]
    for d in evidence.disturbances:
        who = "all" if d.pid is None else str(d.pid)
        lines += [(d.at, f"--- {d.kind} {who}"), (d.until, f"--- {d.kind} {who} is over")]
    first, last = lines[0][0], max(moment, log[-1].monotonic_seconds if not after else after[-1].monotonic_seconds)
    for at, text in sorted(lines):
        if first <= at <= last:
            yield f"  {at - placed_at:8.3f} {text}"


def timeline(log: Sequence[Entry]) -> Iterator[str]:
    """Return a call's whole log, a line for each entry."""
    for entry in log:
        yield f"{entry.monotonic_seconds:.3f} {_line(entry)}"


def _line(entry: Entry) -> str:
    attach = "" if entry.attach is None else f" #{entry.attach}"
    who = "" if entry.who == "stand-in" else f" {entry.who}"
    shown = ("item", "status", "error", "code", "event_id", "item_id", "call_id", "close_code", "webhook_id", "by")
    details = {key: entry.payload[key] for key in shown if entry.payload.get(key) is not None}
    if isinstance(item := details.get("item"), dict):
        details["item"] = {key: item.get(key) for key in ("id", "type", "call_id", "output") if item.get(key)}
    return f"{entry.kind:10} {entry.type}{attach}{who} {details or ''}".rstrip()
