"""`sideband demo`: the main job before one's eyes."""

from __future__ import annotations

import asyncio

import typer

from sideband.cli.common import FAILED, Pubsub, fail, needs

AGENT = "sideband.template.shop:agent"  # the one that `sideband new` writes


def demo(pubsub: Pubsub = "embedded") -> None:
    """Serve three calls, then kill a supervisor under a fourth.

    All on this machine, in about half a minute. Exit status 1 unless
    everything happened that should.

    Example: sideband demo
    """
    with needs("testing"):
        from emulator.demo import run
        from emulator.pubsub.google import EmulatorMissingError
    try:
        happened = asyncio.run(run(AGENT, pubsub=pubsub))
    except EmulatorMissingError as error:
        fail(error)
    raise typer.Exit(0 if happened else FAILED)
