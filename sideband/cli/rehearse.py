"""`sideband rehearse`: scripted calls against an agent, from YAML files."""

from __future__ import annotations

import asyncio
import json as json_
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sideband.cli.common import FAILED, AgentPath, Json, fail, needs

if TYPE_CHECKING:
    from sideband.testing import Rehearsal


def rehearse(
    agent: AgentPath,
    scripts: Annotated[list[Path], typer.Argument(help="Rehearsals, as YAML files.")],
    *,
    json: Json = False,
) -> None:
    """Play scripted calls against an agent, without a phone.

    A file has a `script`, as `sideband.testing` describes it, and what to
    `expect` of the call. Exit status 1 if an expectation was not met.

    Example: sideband rehearse shop:agent rehearsals/*.yaml
    """
    with needs("testing"):
        from sideband.cli.rehearsal_file import RehearsalError, rehearse_file
        from supervisor.errors import StartupError
        from supervisor.telemetry import logs
    all_met = True
    for script in scripts:
        try:
            with redirect_stdout(sys.stderr) if json else nullcontext():  # what the agent prints is no result of ours
                logs.set_up("ERROR", project="", personal_data=False)
                rehearsal, unmet = asyncio.run(rehearse_file(agent, script))
        except (RehearsalError, StartupError) as error:
            fail(error)
        all_met = all_met and not unmet
        show = _as_json if json else _as_text
        typer.echo(show(script, rehearsal, unmet))
    raise typer.Exit(0 if all_met else FAILED)


def _as_json(script: Path, rehearsal: Rehearsal, unmet: list[str]) -> str:
    """Describe a rehearsal in one line of JSON."""
    return json_.dumps(
        {
            "script": str(script),
            "tools": rehearsal.tools,
            "outputs": rehearsal.outputs,
            "transcript": rehearsal.transcript,
            "transfers": rehearsal.transfers,
            "end_reason": rehearsal.end_reason,
            "missed": unmet,
        }
    )


def _as_text(script: Path, rehearsal: Rehearsal, unmet: list[str]) -> str:
    """Describe a rehearsal for people."""
    lines = [
        typer.style(str(script), bold=True),
        *(f"  {typer.style(f'{who:7}', fg=_COLOURS[who])} {text}" for who, text in rehearsal.transcript),
        *(
            f"  {typer.style(name, fg='yellow')} {output}"
            for name, output in zip(rehearsal.tools, rehearsal.outputs, strict=True)
        ),
        f"  ended: {rehearsal.end_reason}",
        *(typer.style(f"  {problem}", fg="red", bold=True) for problem in unmet),
    ]
    return "\n".join(lines)


_COLOURS = {"caller": "blue", "agent": "magenta"}
