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


if __name__ == "__main__":
    app()
