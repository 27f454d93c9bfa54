"""Agents for tests with real processes. What their tools do in the world is a line in the file `EFFECTS`."""

import os
import time
from pathlib import Path

from sideband import Agent, Call, Limits
from tests.support.polling import until

SESSION = {"model": "gpt-realtime-2.1"}
agent = Agent(session=SESSION, greeting="Say hello.")
impatient = Agent(session=SESSION, limits=Limits(no_audio_seconds=8, silence_seconds=None))
"""Hangs up, without a word, on a caller who makes no sound at first."""


def effect(call: Call, tool: str) -> None:
    """Append a line that survives the process."""
    line = f"{tool} {call.idempotency_key} {os.getpid()} {time.time()}\n"
    file = os.open(os.environ["EFFECTS"], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(file, line.encode())
    os.close(file)
    call.state["effects"] = call.state.get("effects", 0) + 1


async def until_told() -> None:
    """Wait until the file `GO` is there."""
    await until(Path(os.environ["GO"]).exists, within_seconds=600)


@agent.tool()
async def pay(call: Call) -> str:
    """Do what must not be done twice, and take long over it."""
    effect(call, "pay")
    await until_told()
    return "paid"


@agent.tool(idempotent=True)
async def look(call: Call) -> str:
    """Do what may be done twice, and take long over it."""
    effect(call, "look")
    await until_told()
    return "seen"


@agent.tool()
async def count(call: Call) -> int:
    """Count up in the call's state."""
    call.state["count"] = call.state.get("count", 0) + 1
    return int(call.state["count"])
