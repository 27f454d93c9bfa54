"""`sideband call`: a caller for what `sideband dev` runs."""

from __future__ import annotations

import asyncio
import json as json_
from dataclasses import asdict
from typing import Annotated

import typer

from sideband.cli.common import FAILED, Json, fail, needs


def call(
    say: Annotated[list[str] | None, typer.Option(help="What the caller says; repeat it for more turns.")] = None,
    from_number: Annotated[str, typer.Option("--from", help="The caller's number.")] = "+31201234567",
    *,
    json: Json = False,
) -> None:
    """Place a call with a running `sideband dev`.

    The caller hangs up after the last answer. Exit status 1 if nobody answered.

    Example: sideband call --say "Is my bike ready?" --say "Thank you."
    """
    with needs("testing"):
        from emulator.dev import NothingRunsError, place_call
    show = (lambda _who, _text: None) if json else (lambda who, text: typer.echo(f"  {who:7} {text}"))
    try:
        placed = asyncio.run(place_call(say or ["Hello?"], from_number=from_number, on_line=show))
    except NothingRunsError as error:
        fail(error)
    typer.echo(json_.dumps(asdict(placed)) if json else f"  ended   {placed.end_reason}")
    raise typer.Exit(0 if placed.answered else FAILED)
