"""The emulator's command line: `python -m emulator --help`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from emulator.google import EmulatorMissingError

if TYPE_CHECKING:
    from emulator.testing import Rehearsal

app = typer.Typer(help="The outside world on one machine.", no_args_is_help=True, add_completion=False)
errors = Console(stderr=True, highlight=False)


class Pubsub(StrEnum):
    """Which Pub/Sub to use."""

    EMBEDDED = "embedded"
    GOOGLE = "google"


@app.callback()
def main() -> None:
    """Stand-ins for OpenAI and Pub/Sub, and a demo that runs on them."""


@app.command()
def demo(
    pubsub: Annotated[Pubsub, typer.Option(help="The embedded Pub/Sub, or Google's emulator.")] = Pubsub.EMBEDDED,
) -> None:
    """Serve three calls, then kill the supervisor that holds a fourth. Exit status 0 only if all went as it should."""
    from emulator import demo as demo_  # noqa: PLC0415 - the other commands need not load it

    try:
        happened = asyncio.run(demo_.run(pubsub.value))
    except EmulatorMissingError as error:
        errors.print(f"[red]{error}[/]")
        raise typer.Exit(2) from None
    raise typer.Exit(0 if happened else 1)


@app.command()
def rehearse(
    agent: Annotated[str, typer.Argument(help="The agent, as module:attribute.")],
    scripts: Annotated[
        list[Path], typer.Argument(help="Rehearsals as YAML files; emulator/testing.py describes them.")
    ],
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON line for each rehearsal.")] = False,
) -> None:
    """Play scripted calls against an agent, without a phone. Exit status 1 if an expectation was not met."""
    from emulator.testing import RehearsalError, rehearse_file  # noqa: PLC0415 - loads the supervisor
    from supervisor.errors import StartupError  # noqa: PLC0415
    from supervisor.telemetry import set_up_logs  # noqa: PLC0415

    set_up_logs("ERROR")
    all_met = True
    for script in scripts:
        try:
            rehearsal, missed = asyncio.run(rehearse_file(agent, script))
        except (RehearsalError, StartupError) as error:
            errors.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
            raise typer.Exit(2) from None
        all_met = all_met and not missed
        _show(script, rehearsal, missed, as_json=json)
    raise typer.Exit(0 if all_met else 1)


def _show(script: Path, rehearsal: Rehearsal, missed: list[str], *, as_json: bool) -> None:
    """Print what happened in a rehearsal."""
    if as_json:
        line = {
            "script": str(script),
            "tools": rehearsal.tools,
            "outputs": rehearsal.outputs,
            "transcript": rehearsal.transcript,
            "transfers": rehearsal.transfers,
            "end_reason": rehearsal.end_reason,
            "missed": missed,
        }
        typer.echo(orjson.dumps(line).decode())
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(str(script))}[/]")
    for who, text in rehearsal.transcript:
        console.print(f"  [{'blue' if who == 'caller' else 'magenta'}]{who:7}[/] {escape(text)}")
    for name, output in zip(rehearsal.tools, rehearsal.outputs, strict=True):
        console.print(f"  [yellow]{name}[/] {escape(output)}")
    console.print(f"  ended: {rehearsal.end_reason}")
    for problem in missed:
        console.print(f"  [bold red]{escape(problem)}[/]")


if __name__ == "__main__":
    app()
