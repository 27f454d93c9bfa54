"""The emulator's command line: `python -m emulator --help`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from emulator.pubsub.google import EmulatorMissingError

if TYPE_CHECKING:
    from sideband.testing import Rehearsal

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
    from sideband.testing import RehearsalError, rehearse_file  # noqa: PLC0415 - loads the supervisor
    from supervisor.errors import StartupError  # noqa: PLC0415
    from supervisor.telemetry import logs  # noqa: PLC0415

    all_met = True
    for script in scripts:
        try:
            with redirect_stdout(sys.stderr) if json else nullcontext():  # what the agent prints is no result of ours
                logs.set_up("ERROR", project="", personal_data=False)
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


@app.command()
def dev(
    agent: Annotated[str, typer.Option(help="The agent that answers, as module:attribute.")] = "examples.bikes:agent",
    pubsub: Annotated[Pubsub, typer.Option(help="The embedded Pub/Sub, or Google's emulator.")] = Pubsub.EMBEDDED,
) -> None:
    """Run function and supervisors on this machine, and again when code changes, until Ctrl-C."""
    from emulator import dev as dev_  # noqa: PLC0415 - the other commands need not load it

    try:
        asyncio.run(dev_.run(agent, pubsub=pubsub.value))
    except EmulatorMissingError as error:
        errors.print(f"[red]{error}[/]")
        raise typer.Exit(2) from None


@app.command()
def openai(
    *,
    webhook_url: Annotated[str, typer.Option(help="Where calls are told: the function's /webhooks/openai.")],
    api_key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="The key that supervisors must use.")],
    webhook_secret: Annotated[str, typer.Option(envvar="OPENAI_WEBHOOK_SECRET", help="What signs webhooks.")],
    pubsub: Annotated[str, typer.Option(envvar="PUBSUB_EMULATOR_HOST", help="Make the topic here, at HOST:PORT.")] = "",
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT")] = "local",
    topic: Annotated[str, typer.Option(envvar="CALLS_TOPIC")] = "calls",
    subscription: Annotated[str, typer.Option(envvar="CALLS_SUBSCRIPTION")] = "calls-supervisor",
    host: str = "127.0.0.1",
    port: int = 8088,
) -> None:
    """Serve the stand-in for OpenAI alone, for function and supervisors that run elsewhere, such as in containers."""
    from emulator import dev as dev_  # noqa: PLC0415 - the other commands need not load it
    from emulator.openai import Options  # noqa: PLC0415 - the same
    from emulator.pubsub.topology import create_calls  # noqa: PLC0415 - the same

    async def serve() -> None:
        if pubsub:
            dead = f"{subscription}-dead"
            await create_calls(pubsub, project=project, topic=topic, subscription=subscription, dead_letter_topic=dead)
        options = Options(api_keys=[api_key], webhook_secrets=[webhook_secret], webhook_url=webhook_url)
        await dev_.serve_stand_in(options, host=host, port=port)

    asyncio.run(serve())


@app.command()
def call(
    say: Annotated[list[str] | None, typer.Option(help="What the caller says; repeat it for more turns.")] = None,
    from_number: Annotated[str, typer.Option("--from", help="The caller's number.")] = "+31201234567",
) -> None:
    """Place a call with a running `dev`; the caller hangs up after the last answer."""
    from emulator import dev as dev_  # noqa: PLC0415 - the other commands need not load it

    try:
        asyncio.run(dev_.place_call(say or ["Hello?"], from_number=from_number))
    except dev_.NothingRunsError as error:
        errors.print(f"[red]{error}[/]")
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
