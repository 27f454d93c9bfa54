"""What a soak shows: checks and a table for people, one JSON line for machines, series for the plot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import linear_regression, median, quantiles
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emulator.demo import Check, summarise
from tests.bench.callers import Callers, LogSummary
from tests.bench.vitals import Vitals

if TYPE_CHECKING:
    from tests.bench.plot import Plot

MOST_KB_PER_1000_CALLS = 1000.0
"""What memory may grow by, in the second half of the churn: in the first, malloc's fragmentation levels off.

A supervisor that is full, with calls of three minutes, has 100,000 calls a day: at the limit it grows by 100 MB a day,
and few live that long between two deploys. A call that stays in memory costs tens of kB: one in twenty would be seen.
"""
JUDGED_CALLS = 1500
"""With fewer calls in the second half, a single step of malloc's heap by 1 MB could be over the limit."""
SERVED = {
    "never_ended": "every call ended",
    "not_greeted_once": "every caller was greeted once",
    "tools_not_answered_once": "every tool call was answered once",
    "wrong_end": "every record has an end, with the reason that fits",
}
"""What callers can be denied, and what it takes that none was."""
SERIES: dict[str, tuple[str, Callable[[Vitals], float]]] = {
    "memory RSS": ("MB", lambda vitals: vitals.rss_kb / 1024),
    "memory PSS": ("MB", lambda vitals: vitals.pss_kb / 1024),
    "calls": ("", lambda vitals: vitals.calls),
    "leases": ("", lambda vitals: vitals.leases),
    "tasks": ("", lambda vitals: vitals.tasks),
    "file descriptors": ("", lambda vitals: vitals.fds),
    "threads": ("", lambda vitals: vitals.threads),
}
"""What is shown of each sample: its name, its unit, and where it is."""
GIVEN_BACK = ("leases", "tasks", "file descriptors")


@dataclass(frozen=True, slots=True)
class Sample:
    """One look while the crowd is there."""

    at_seconds: float
    """From when the crowd began to come."""
    ended: int
    """How many calls had been by then."""
    vitals: Vitals
    stand_in_cpu_seconds: float
    """Processor time of everything that is not function or supervisor."""

    def __str__(self) -> str:
        seen = self.vitals
        memory = f"{seen.rss_kb / 1024:.1f} MB, {seen.fds} descriptors, {seen.tasks} tasks, {seen.leases} leases"
        return f"{seen.calls} calls alive, {self.ended} ended; {memory}"


@dataclass(frozen=True, slots=True)
class Soak:
    """What was seen of a run."""

    calls: int
    minutes: float
    seed: int
    before: Vitals
    after: Vitals
    samples: list[Sample]
    callers: Callers
    logs: LogSummary

    @property
    def steady(self) -> list[Sample]:
        """The samples of the second half, until callers are no longer followed by others."""
        end = self.minutes * 60
        return [sample for sample in self.samples if end / 2 <= sample.at_seconds <= end]

    @property
    def kb_per_1000_calls(self) -> float:
        """How much memory grows, by least squares."""
        ended = [sample.ended for sample in self.steady]
        return 1000 * linear_regression(ended, [sample.vitals.rss_kb for sample in self.steady]).slope

    @property
    def cpu_shares(self) -> tuple[float, float]:
        """How much of a core the supervisor takes, and how much everything around it."""
        first, last = self.steady[0], self.steady[-1]
        seconds = last.at_seconds - first.at_seconds
        return (
            (last.vitals.cpu_seconds - first.vitals.cpu_seconds) / seconds,
            (last.stand_in_cpu_seconds - first.stand_in_cpu_seconds) / seconds,
        )

    @property
    def checks(self) -> list[Check]:
        """What has to hold."""
        faults, calls = self.callers.faults, len(self.callers.lives_seconds)
        held = {name: (of(self.before), of(self.after)) for name, (_, of) in SERIES.items() if name in GIVEN_BACK}
        ends, errors = self.logs.ends, self.logs.errors
        return [
            *(Check(claim, not faults[fault], f"{faults[fault]} of {calls} not") for fault, claim in SERVED.items()),
            Check("each call was ended once", len(ends) == calls and set(ends.values()) == {1}, f"{ends.total()} ends"),
            Check("no lease was lost", not self.after.lost_leases, f"{self.after.lost_leases} lost"),
            Check("no process logged an error", not errors, f"{len(errors)} did" if errors else ""),
            *(Check(f"{name} are back", last <= first, f"{first} -> {last}") for name, (first, last) in held.items()),
            self._growth(),
        ]

    def _growth(self) -> Check:
        calls = self.steady[-1].ended - self.steady[0].ended
        growth = f"{self.kb_per_1000_calls:+.0f} kB per 1,000 calls, of at most {MOST_KB_PER_1000_CALLS:.0f}"
        if calls < JUDGED_CALLS:
            return Check("memory does not grow", holds=True, detail=f"{growth}; {calls} calls are too few to tell")
        return Check("memory does not grow", self.kb_per_1000_calls <= MOST_KB_PER_1000_CALLS, growth)

    @property
    def passed(self) -> bool:
        """Whether all of it does."""
        return all(check.holds for check in self.checks)


def show(console: Console, soak: Soak) -> None:
    """Show a run to a person."""
    table = Table("", "before", "steady, median", "most", "after", box=None)
    for name, (unit, of) in SERIES.items():
        steady = median(of(sample.vitals) for sample in soak.steady)
        most = max(of(sample.vitals) for sample in soak.samples)
        row = (of(soak.before), steady, most, of(soak.after))
        table.add_row(f"{name} ({unit})" if unit else name, *(f"{value:.{1 if unit else 0}f}" for value in row))
    supervisor, around = soak.cpu_shares
    lives, rang = soak.callers.lives_seconds, soak.callers.rang_seconds
    shortest, *_, longest = quantiles(lives, n=20)
    console.print(table)
    console.print(
        f"{len(lives)} calls, most of them of {shortest:.0f} to {longest:.0f} s; "
        f"they rang for {median(rang):.2f} s (median), {max(rang):.1f} s at most; "
        f"of a core, the supervisor took {supervisor:.0%}, the stand-ins {around:.0%}"
    )
    for fault in [*soak.callers.first_faults, *soak.logs.errors]:
        console.print(f"[red]{escape(fault)}[/]", soft_wrap=True)
    summarise(console, soak.checks)


def as_json(soak: Soak) -> dict[str, Any]:
    """Return the line for machines."""
    supervisor, around = soak.cpu_shares
    rang = soak.callers.rang_seconds
    return {
        "passed": soak.passed,
        "minutes": soak.minutes,
        "seed": soak.seed,
        "calls_ended": len(soak.callers.lives_seconds),
        "memory_kb_per_1000_calls": round(soak.kb_per_1000_calls, 1),
        **{
            "_".join(f"{name} {unit}".lower().split()): {
                "before": round(of(soak.before), 1),
                "most": round(max(of(sample.vitals) for sample in soak.samples), 1),
                "after": round(of(soak.after), 1),
            }
            for name, (unit, of) in SERIES.items()
        },
        "rang_seconds": {"median": round(median(rang), 3), "most": round(max(rang), 3)},
        "lost_leases": soak.after.lost_leases,
        "cpu_supervisor": round(supervisor, 3),
        "cpu_stand_ins": round(around, 3),
        **{fault: soak.callers.faults[fault] for fault in SERVED},
        "errors_logged": len(soak.logs.errors),
    }


def as_plot(soak: Soak) -> Plot:
    """Return the series for `tests/bench/plot.py`."""
    minutes = [sample.at_seconds / 60 for sample in soak.samples]
    calls = len(soak.callers.lives_seconds)
    return {
        "title": f"{calls} calls, {soak.calls} at a time: memory {soak.kb_per_1000_calls:+.0f} kB per 1,000 calls",
        "x": "minutes",
        "panels": [
            {
                "title": name[0].upper() + name[1:],
                "unit": unit,
                "x": minutes,
                "y": [of(sample.vitals) for sample in soak.samples],
            }
            for name, (unit, of) in SERIES.items()
        ],
    }
