"""The emulator's command line: `python -m emulator --help`."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from emulator.google import EmulatorMissingError

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
