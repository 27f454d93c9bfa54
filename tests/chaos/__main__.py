"""Calls under chaos: `python -m tests.chaos`, or `make chaos CALLS=500 SECONDS=120 SUPERVISORS=3 SEED=1`."""

from __future__ import annotations

import asyncio
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from emulator.pubsub.google import EmulatorMissingError
from sideband.cli.common import Pubsub
from tests.chaos.evidence import Evidence
from tests.chaos.oracle import Judgement, judge
from tests.chaos.plan import make_plan
from tests.chaos.report import as_json, one_line, show, timeline
from tests.chaos.run import Run, run

FOLDER = Path("build/chaos")


class Safeguard(StrEnum):
    """What supervisors can be made to go without."""

    NONE = ""
    FENCING = "fencing"
    HANDOVER = "handover"
    JOURNAL = "journal"


def main(  # noqa: PLR0917 - all are options, and given by name
    calls: Annotated[int, typer.Option(min=1, max=5000)] = 500,
    seconds: Annotated[float, typer.Option(min=10, max=3600)] = 120.0,
    supervisors: Annotated[int, typer.Option(min=2, max=10)] = 3,
    seed: Annotated[int, typer.Option(help="The same seed gives the same plan.")] = 1,
    pubsub: Pubsub = "embedded",
    records: Annotated[str, typer.Option(help="As the setting RECORDS; a new SQLite file unless given.")] = "",
    broken: Annotated[
        Safeguard, typer.Option("--break", help="Take a safeguard out of the supervisors, to see the run fail.")
    ] = Safeguard.NONE,
) -> None:
    """Kill, stop, freeze and cut off supervisors under many calls.

    The exit status is 1 if any invariant was broken.
    """
    console = Console(stderr=True, highlight=False)
    folder = (FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-seed-{seed}").absolute()
    folder.mkdir(parents=True)
    plan = make_plan(seed=seed, calls=calls, seconds=seconds, supervisors=supervisors)
    console.print(
        f"{calls} calls in {seconds:.0f} s, {supervisors} supervisors, {len(plan.faults)} faults, seed {seed}"
    )
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting")
        try:
            evidence = asyncio.run(
                run(
                    plan,
                    folder=folder,
                    supervisors=supervisors,
                    pubsub=pubsub,
                    records=records,
                    broken=broken.value,
                    on_fault=lambda text: console.print(f"[dim]{progress.tasks[0].elapsed:6.1f}[/] {text}"),
                    on_tick=lambda running: progress.update(task, description=_state_of(running)),
                )
            )
        except EmulatorMissingError as error:
            console.print(f"[red]{error}[/]")
            raise typer.Exit(2) from None
    judgement = judge(evidence)
    show(console, judgement, evidence)
    _write(folder, judgement, evidence)
    console.print(f"[dim]All logs are in {folder.relative_to(Path.cwd())}/[/]")
    sys.stdout.write(orjson.dumps(as_json(judgement, evidence)).decode() + "\n")
    raise typer.Exit(0 if judgement.passed else 1)


def _state_of(running: Run) -> str:
    """Return how a run goes, as one line."""
    alive = sum(call.state == "accepted" for call in running.calls)
    ringing = sum(call.state == "ringing" for call in running.calls)
    up = sum(slot.process is not None and slot.process.running for slot in running.slots)
    return f"{len(running.calls)} calls so far, {ringing} ringing, {alive} alive; {up} supervisors"


def _write(folder: Path, judgement: Judgement, evidence: Evidence) -> None:
    """Keep all logs, for people who look into a violation."""
    (folder / "result.json").write_bytes(orjson.dumps(as_json(judgement, evidence), option=orjson.OPT_INDENT_2))
    (folder / "violations.txt").write_text("".join(f"{one_line(violation)}\n" for violation in judgement.violations))
    disturbances = sorted(evidence.disturbances, key=lambda d: d.at)
    (folder / "disturbances.txt").write_text(
        "".join(f"{d.at:.3f} {d.until:.3f} {d.kind} {d.pid or 'all'}\n" for d in disturbances)
    )
    for call_id, log in evidence.logs.items():
        (folder / f"{call_id}.log").write_text("".join(f"{line}\n" for line in timeline(log)))
    for pid, lines in evidence.log_lines.items():
        (folder / f"process-{pid}.log").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


if __name__ == "__main__":
    typer.run(main)
