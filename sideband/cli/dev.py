"""`sideband dev`: function, supervisors and stand-ins on this machine."""

from __future__ import annotations

import asyncio

from sideband.cli.common import AgentPath, Pubsub, check_path, fail, needs


def dev(agent: AgentPath, pubsub: Pubsub = "embedded") -> None:
    """Run everything on this machine, again when code changes.

    Function, two supervisors, a stand-in for OpenAI and Pub/Sub, until Ctrl-C.
    Place calls by `sideband call` from another terminal in the same folder.

    Example: sideband dev shop:agent
    """
    with needs("testing"):
        from emulator.dev import AlreadyRunningError, run
        from emulator.pubsub.google import EmulatorMissingError
    check_path(agent)
    try:
        asyncio.run(run(agent, pubsub=pubsub))
    except (AlreadyRunningError, EmulatorMissingError) as error:
        fail(error)
