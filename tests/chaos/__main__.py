"""Calls under chaos: `python -m tests.chaos`, or `make chaos CALLS=500 SECONDS=120 SUPERVISORS=3 SEED=1`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from tests.chaos.oracle import COUNTERS, Judgement, percentile
from tests.chaos.plan import make_plan
from tests.chaos.run import run

VIOLATIONS_SHOWN = 20


def main(
    calls: int = 500,
    seconds: float = 120.0,
    supervisors: int = 3,
    seed: int = 1,
    pubsub: str = "embedded",
    records: str = "",
    lease_seconds: int = 10,
    fault_every_seconds: float = 6.0,
    broken: Annotated[str, typer.Option(help="Take a safeguard out of the supervisors: fencing or journal.")] = "",
) -> None:
    """Kill, stop, freeze and cut off supervisors under many calls; exit status 1 if any invariant was broken."""
    plan = make_plan(
        seed=seed, calls=calls, seconds=seconds, supervisors=supervisors, every_seconds=fault_every_seconds
    )
    folder = Path("build/chaos") / f"{time.strftime('%Y%m%d-%H%M%S')}-seed-{seed}"
    folder.mkdir(parents=True)
    console = Console(stderr=True, highlight=False)
    started = time.monotonic()
    console.print(f"{calls} calls in {seconds:.0f} s, {supervisors} supervisors, {len(plan.faults)} faults; {folder}/")
    judgement = asyncio.run(
        run(
            plan,
            folder=folder.resolve(),
            supervisors=supervisors,
            lease_seconds=lease_seconds,
            pubsub=pubsub,
            records=records,
            broken=broken,
            progress=lambda text: console.print(f"[dim]{time.monotonic() - started:6.1f}[/] {text}"),
        )
    )
    _show(console, judgement)
    sys.stdout.write(orjson.dumps(judgement.as_dict()).decode() + "\n")
    raise typer.Exit(0 if judgement.passed else 1)


def _show(console: Console, judgement: Judgement) -> None:
    table = Table(box=None, show_header=False)
    for name in COUNTERS:
        count = judgement.counters[name]
        table.add_row(name.replace("_", " "), f"[bold red]{count}[/]" if count else "[green]0[/]")
    for name, gaps in (
        ("crash", judgement.crash_gaps_ms),
        ("hand-over", judgement.handover_gaps_ms),
        ("double fault", judgement.double_fault_gaps_ms),
    ):
        shown = [percentile(gaps, share) for share in (0.5, 0.99, 1.0)]
        table.add_row(f"gap after a {name}", f"{len(gaps)} times; p50, p99, most: {shown} ms")
    table.add_row("tool calls unheard", str(judgement.unheard_tools))
    table.add_row("second outputs refused", str(judgement.refused_outputs))
    console.print(table)
    for violation in judgement.violations[:VIOLATIONS_SHOWN]:
        console.print(f"[red]{violation}[/]", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
