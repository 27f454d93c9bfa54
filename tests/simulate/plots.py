"""The series of the plots in docs/scale.md, as `tests/bench/plot.py` draws them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.simulate.figures import Figures
from tests.simulate.scenarios import HAPPENS, STRIKE_AT, TENTH, WHOLE

if TYPE_CHECKING:
    from tests.bench.plot import Panel, Plot

LEVELS = {
    "ringing": ("Callers who wait for an answer", ""),
    "alone": ("Living calls without an owner", ""),
    "delivered": ("Notices delivered", "a second"),
    "extensions": ("Leases extended", "a second"),
    "documents": ("Documents written", "a second"),
    "attaches": ("Attaches begun", "a second"),
}
"""What is drawn of a run: each series, its title and its unit."""
DRAWN = ("deploy", "zone", "slow", "outage", "burst")
LONG_OUTAGE = 20

Results = Mapping[str, Any]


def plots(results: Results, figures: Figures) -> dict[str, Plot]:
    """Gather what is drawn, by the name of its file."""
    runs = {name: _run(HAPPENS[name], results["whole"][name]["series"]) for name in DRAWN}
    return {**runs, "head-room": _head_room(results["head-room"]), "lease": _lease(results, figures)}


def _run(happens: str, series: Mapping[str, Sequence[float]]) -> Plot:
    panels = [_panel(title, unit, enumerate(series[name])) for name, (title, unit) in LEVELS.items()]
    title = f"{WHOLE.calls:,} calls: {happens}"
    return {"title": title, "x": f"seconds; it begins at {STRIKE_AT:.0f}", "panels": panels}


def _head_room(sweep: Sequence[Results]) -> Plot:
    by_slots = [(one["labels"]["max_calls"], one["result"]) for one in sweep]
    panels = [
        _panel("Without an owner, p99", "s", ((slots, one["alone"]["p99"]) for slots, one in by_slots)),
        _panel("Ring to answer, p99", "s", ((slots, one["answer"]["p99"]) for slots, one in by_slots)),
        _panel("Refused", "% of callers", ((slots, 100 * one["refused"] / one["rang"]) for slots, one in by_slots)),
    ]
    return {"title": "A zone dies", "x": "MAX_CALLS", "panels": panels}


def _lease(results: Results, figures: Figures) -> Plot:
    died, out = (
        [(one["labels"]["lease"], one["result"]["alone"]) for one in results["lease"] if one["labels"]["outage"] == of]
        for of in (0, LONG_OUTAGE)
    )
    full = [(one["labels"]["lease"], one["result"]["extended_per_minute"]) for one in results["full"]]
    quota = figures.extended_per_minute * TENTH.share
    panels = [
        _panel("A machine dies: without an owner, p99", "s", ((lease, alone["p99"]) for lease, alone in died)),
        _panel(
            f"Pub/Sub is out for {LONG_OUTAGE} s: calls without an owner",
            "%",
            ((lease, 100 * alone["count"] / TENTH.calls) for lease, alone in out),
        ),
        _panel(
            "All slots are taken: extensions asked for",
            "% of the quota",
            ((lease, 100 * extended / quota) for lease, extended in full),
        ),
    ]
    return {"title": "How long a lease", "x": "LEASE_SECONDS", "panels": panels}


def _panel(title: str, unit: str, points: Iterable[tuple[float, float]]) -> Panel:
    x, y = zip(*points, strict=True)
    return {"title": title, "unit": unit, "x": list(x), "y": list(y)}
