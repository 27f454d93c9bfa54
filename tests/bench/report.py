"""Fills in docs/performance.md: what was measured, the targets, and why some are missed."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from tests.bench.changes import exponent
from tests.bench.environments import PEERS
from tests.bench.harness import ROOT
from tests.bench.peers import BARE_LOOP, ON_ASYNCIO

TEMPLATE = Path(__file__).with_name("performance.template.md")
PAGE = ROOT / "docs" / "performance.md"
SERIES = ROOT / "build" / "bench" / "plot.json"
Kept = dict[str, dict[str, Any]]
BUSY_CORE = 0.6  # of a core that a worker's calls may take, so that a hand-over finds room
USD_PER_VCPU_SECOND = 0.000018

WHY = {
    "tool_turn_1": "A tool's outcome is durable before its output is sent, so that a crash can't lose it: one SQLite"
    " transaction in a thread of its own, 0.2 ms. It also runs in a task of its own, which is left behind if it hangs."
    " The bare loop does neither.",
    "tool_turn_500": "The same, in one transaction for all that wait; no output leaves before all of them are written."
    " Half of the calls of the bare loop are answered before the other half was read.",
    "memory_attach": "The record, the claim, the policies and what runs beside the reader.",
    "memory_20_turns": "The last pieces of the transcript and the record's parts, which the bare loop does not keep;"
    " they are bounded.",
    "cpu_per_event": "Policies, record and metrics.",
    "core_percent": "Most of it is the library's parser and the system's calls, which the bare loop pays as well.",
    "event_to_handler": "All calls share one core with their records' writes.",
    "accept_extra_ms": "HTTP of the function, the first renewal that confirms the claim, the record's transaction and"
    " the REST call are on this way, and not on that of a bare publish and pull.",
    "function_p50": "The signature and the notice.",
    "cold_start_function": "Settings, tokens and the routes for browsers are loaded too.",
    "cold_start_supervisor": "OpenAI's client and types take 0.55 s to import. They are needed before the first call:"
    " the session is checked against the types, and the client makes the REST calls.",
    "peers_cpu": "What is left is mostly the library's framing and the system's calls, which the bare loop pays as"
    " well: it is itself not five times ahead of the better of these two where both have uvloop.",
    "peers": "The `openai` client keeps nothing of a call but its socket, and takes less memory at the attach. On all"
    " other rows we are ahead of all three.",
    "growth": "Less than 10 kB a call over an hour, most of which comes in the first of it.",
}


class Target(NamedTuple):
    """One row of the targets."""

    key: str
    what: str
    measured: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether it is met."""
        return self.measured <= self.limit


def write(kept: Kept) -> dict[str, Any]:
    """Write the page, and the series of its plot; returns the ratios."""
    figures = {name: part["figures"] for name, part in kept.items()}
    SERIES.write_text(json.dumps(_plot(figures)))
    PAGE.write_text(Template(TEMPLATE.read_text()).substitute(_filled(kept, figures)))
    return _ratios(figures)


def _ratios(figures: dict[str, Any]) -> dict[str, Any]:
    ours, bare = figures["peers"]["sideband"], figures["peers"][BARE_LOOP]
    large = _by_size(figures)[1000]
    return {
        "cpu_per_event": _ratio(ours, bare, "cpu_us_per_event"),
        "memory_attach": round(large["sideband"]["attach_kb"] / large[BARE_LOOP]["attach_kb"], 2),
        "memory_20_turns": round(large["sideband"]["after_20_turns_kb"] / large[BARE_LOOP]["after_20_turns_kb"], 2),
        "tool_turn_1": _ratio(ours, bare, "tool_turn_1_p50_ms"),
        "tool_turn_500": _ratio(ours, bare, "tool_turn_500_p50_ms"),
        "accept_extra_ms": round(figures["own_path"]["extra_ms"], 2),
        "function_p50": round(figures["function_requests"]["p50_ms"]["ratio"], 2),
        "cold_start_function": round(figures["cold_start"]["function_seconds"]["ratio"], 2),
        "cold_start_supervisor": round(figures["cold_start"]["supervisor_seconds"]["ratio"], 2),
        "peers": {
            name: {what: _ratio(figures["peers"][name], ours, what) for what in ours}
            for name in (BARE_LOOP, *PEERS, *ON_ASYNCIO)
        },
    }


def _targets(figures: dict[str, Any]) -> list[Target]:
    ratios, carried = _ratios(figures), figures["carried"]
    long_kb = figures["memory"]["long_kb"]
    cpu = min(ratios["peers"][name]["cpu_us_per_event"] for name in ("openai", "openai-agents"))
    cpu_on_asyncio = min(ratios["peers"][name]["cpu_us_per_event"] for name in ON_ASYNCIO)
    worst = min(value for name in PEERS for value in ratios["peers"][name].values())
    return [
        Target("cpu_per_event", "CPU per event ÷ bare loop", ratios["cpu_per_event"], 1.5),
        Target("memory_attach", "Memory at attach ÷ bare loop (1,000 calls)", ratios["memory_attach"], 1.5),
        Target("memory_20_turns", "Memory after 20 turns ÷ bare loop (1,000 calls)", ratios["memory_20_turns"], 1.5),
        Target("growth", "Memory at turn 200 ÷ at turn 20", round(long_kb[-1] / long_kb[0], 2), 1.1),
        Target("tool_turn_1", "Tool turn p50, one call ÷ bare loop", ratios["tool_turn_1"], 1.3),
        Target("tool_turn_500", "Tool turn p50, 500 at once ÷ bare loop", ratios["tool_turn_500"], 2.0),
        Target("accept_extra_ms", "Webhook to accept, beyond a publish and a pull (ms)", ratios["accept_extra_ms"], 5),
        Target("function_p50", "Function p50 ÷ hello world", ratios["function_p50"], 1.3),
        Target("cold_start_function", "Cold start of the function ÷ hello world", ratios["cold_start_function"], 1.5),
        Target("cold_start_supervisor", "The same of the supervisor", ratios["cold_start_supervisor"], 1.5),
        Target("core_percent", "1,000 calls at 15 events/s (% of a core)", round(carried["core_percent"], 1), 40),
        Target(
            "event_to_handler", "Their event to handler, p99 (ms)", round(carried["event_to_handler_p99_ms"], 1), 10
        ),
        Target("core_percent", "Their renewals that failed", carried["renewals_failed"] + carried["leases_lost"], 0),
        Target(
            "peers_cpu",
            "Five times our CPU per event ÷ the better of openai and openai-agents, as they come",
            round(5 / cpu_on_asyncio, 2),
            1,
        ),
        Target("peers_cpu", "The same, with uvloop for them too", round(5 / cpu, 2), 1),
        Target("peers", "Ours ÷ any peer, the worst row of the table", round(1 / worst, 2), 1),
    ]


def _filled(kept: Kept, figures: dict[str, Any]) -> dict[str, str]:
    """Return what the template leaves open."""
    targets = _targets(figures)
    missed = [f"- **{target.what}**: {WHY[target.key]}" for target in targets if not target.met]
    rows = [(t.what, f"{t.measured:g}", f"{t.limit:g}", "" if t.met else "**missed**") for t in targets]
    long = zip(figures["memory"]["long_turns"], figures["memory"]["long_kb"], strict=True)
    return {
        "machine": _machine(kept),
        "targets": table(("what", "measured", "at most", ""), rows),
        "missed": "\n".join(["Why some are missed:", "", *missed] if missed else ["All are met."]),
        "peers": _peers(figures["peers"]),
        "memory": _memory(figures["memory"]["samples"]),
        "long": ", ".join(f"{kb:.0f} kB at turn {turns:.0f}" for turns, kb in long),
        "changes": _changes(figures["changes"]),
        "own": _own(figures),
        "worker": _worker(figures),
    }


def _machine(kept: Kept) -> str:
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ": unknown")
    own = ", ".join(f"{name} {version(name)}" for name in ("websockets", "orjson", "uvloop", "pydantic"))
    taken = ", ".join(f"{name} {part['taken_at']}" for name, part in kept.items())
    packages = ", ".join(peer.requirement.replace("==", " ") for peer in PEERS.values())
    return (
        f"Machine: {cpu.partition(':')[2].strip()}, {os.cpu_count()} cores, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}. Ours and the bare loop: {own}. Peers: {packages}. Taken (UTC): {taken}."
    )


def _peers(sides: dict[str, dict[str, float]]) -> str:
    rows = (
        ("CPU per event (µs)", "cpu_us_per_event", 1),
        ("memory per call, attached (kB)", "memory_attach_kb", 0),
        ("tool turn, one call, p50 (ms)", "tool_turn_1_p50_ms", 2),
        ("tool turn, one call, p99 (ms)", "tool_turn_1_p99_ms", 2),
        ("tool turn, 500 at once, p50 (ms)", "tool_turn_500_p50_ms", 0),
        ("tool turn, 500 at once, p99 (ms)", "tool_turn_500_p99_ms", 0),
        ("attach 500 at once (s)", "attach_500_seconds", 2),
    )
    return table(
        ("", *sides),
        [(title, *(f"{figures[key]:.{digits}f}" for figures in sides.values())) for title, key, digits in rows],
    )


def _memory(samples: list[dict[str, Any]]) -> str:
    rows = [
        (f"{one['calls']:,} calls", one["side"], f"{one['attach_kb']:.1f}", f"{one['after_20_turns_kb']:.1f}")
        for one in samples
    ]
    return table(("", "side", "attached", "after 20 turns"), rows)


def _changes(changes: list[dict[str, Any]]) -> str:
    rows = (
        ("attach all at once (s)", "attach_seconds", 2),
        ("memory (MB)", "memory_mb", 1),
        ("CPU at 15 events/s each (% of a core)", "cpu_percent", 1),
        ("hand-over p50 (s)", "handover_p50_seconds", 2),
        ("hand-over p99 (s)", "handover_p99_seconds", 2),
        ("hand-over: gap p99 (ms)", "handover_gap_p99_ms", 0),
        ("recovery p50 (s)", "recovery_p50_seconds", 2),
        ("recovery p99 (s)", "recovery_p99_seconds", 2),
    )
    many = [change for change in changes if change["calls"] >= 10]  # with fewer, what is fixed hides it
    found = {
        key: exponent([change["calls"] for change in many], [change[key] for change in many])
        for _, key, _ in rows
        if all(change[key] > 0 for change in many)
    }
    return table(
        ("", *(f"{change['calls']:,}" for change in changes), "exponent"),
        [
            (title, *(f"{change[key]:.{digits}f}" for change in changes), f"{found[key]:.2f}" if key in found else "")
            for title, key, digits in rows
        ],
    )


def _own(figures: dict[str, Any]) -> str:
    path, requests, cold = figures["own_path"], figures["function_requests"], figures["cold_start"]
    rows = {
        "function, p50 (ms)": requests["p50_ms"],
        "function, p99 (ms)": requests["p99_ms"],
        "function, requests per second, 16 connections": requests["requests_per_second"],
        "cold start of the function (s)": cold["function_seconds"],
        "cold start of the supervisor (s)": cold["supervisor_seconds"],
    }
    accept, least = f"{path['webhook_to_accept_ms']:.2f}", f"{path['publish_and_pull_ms']:.2f}"
    return table(
        ("", "ours", "beside it", "which is"),
        [
            ("webhook to accept (ms)", accept, least, "one publish and one pull"),
            *((title, f"{both['ours']:.2f}", f"{both['hello']:.2f}", "hello world") for title, both in rows.items()),
        ],
    )


def _worker(figures: dict[str, Any]) -> str:
    carried, large = figures["carried"], _by_size(figures)[1000]["sideband"]
    core_a_call = carried["core_percent"] / 100 / 1000
    calls = int(BUSY_CORE / core_a_call / 100) * 100
    megabytes = calls * large["after_20_turns_kb"] / 1024
    vcpu_seconds = 60 / calls  # a call-minute of a worker that is full
    usd = vcpu_seconds * USD_PER_VCPU_SECOND
    return f"""\
1,000 calls at 15 events a second each, more than calls have on average, take {carried["core_percent"]:.0f} % of a
core of this machine. An event is with its handler after {carried["event_to_handler_p50_ms"]:.1f} ms (p50) or
{carried["event_to_handler_p99_ms"]:.1f} ms (p99); renewals that failed: {carried["renewals_failed"]}, leases lost:
{carried["leases_lost"]}. So a worker with 1 vCPU like it holds about {calls:,} calls in {BUSY_CORE:.0%} of its time,
and in {megabytes:.0f} MB beyond what it starts with. When it is full, a call-minute takes {1000 * vcpu_seconds:.0f} ms
of vCPU time: at {USD_PER_VCPU_SECOND} USD a vCPU-second that is {usd:.1e} USD. The price is assumed; see your region's
list. By default a worker takes 200 calls (`MAX_CALLS`): so many callers hear a silence when one crashes, and that is a
better reason to stop than its CPU."""


def _plot(figures: dict[str, Any]) -> dict[str, Any]:
    changes = [change for change in figures["changes"] if change["calls"] > 1]
    x = [float(change["calls"]) for change in changes]
    panels = (
        ("Attach all at once", "s", "attach_seconds"),
        ("Memory", "MB", "memory_mb"),
        ("CPU at 15 events/s each", "% of a core", "cpu_percent"),
        ("Hand-over p99", "s", "handover_p99_seconds"),
        ("Recovery p99, of which the lease is 10 s", "s", "recovery_p99_seconds"),
    )
    return {
        "title": "Growth with the number of calls",
        "x": "calls",
        "panels": [
            {"title": title, "unit": unit, "x": x, "y": [change[key] for change in changes]}
            for title, unit, key in panels
        ],
    }


def _by_size(figures: dict[str, Any]) -> dict[int, dict[str, dict[str, Any]]]:
    sizes: dict[int, dict[str, dict[str, Any]]] = {}
    for sample in figures["memory"]["samples"]:
        sizes.setdefault(sample["calls"], {})[sample["side"]] = sample
    return sizes


def _ratio(one: dict[str, float], other: dict[str, float], what: str) -> float:
    return round(one[what] / other[what], 2) if other[what] else 0.0


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
