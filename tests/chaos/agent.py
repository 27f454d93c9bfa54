"""The agent under chaos: tools that take time, and leave a line in the file `EFFECTS` for each time they run.

What a tool has done it also writes into the call's state, just before it answers: an answer that was sent, and a state
that does not know of it, do not belong to the same history.
"""

import asyncio
import os

from sideband import Agent, Call

agent = Agent(session={"model": "gpt-realtime-2.1"}, greeting="Greet the caller.")


def effect(call: Call, tool: str) -> None:
    """Do something in the world: append a line, whole or not at all."""
    file = os.open(os.environ["EFFECTS"], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.write(file, f"{tool} {call.idempotency_key} {os.getpid()}\n".encode())
    finally:
        os.close(file)


async def work(call: Call, ms: int) -> None:
    """Take some time, then remember what was done."""
    await asyncio.sleep(ms / 1000)
    call.state[call.idempotency_key] = "done"


@agent.tool(timeout=30)
async def pay(call: Call, ms: int) -> str:
    """Do what must not happen twice."""
    effect(call, "pay")
    await work(call, ms)
    return "paid"


@agent.tool(idempotent=True, timeout=30)
async def look(call: Call, ms: int) -> str:
    """Do what may happen twice."""
    effect(call, "look")
    await work(call, ms)
    return "seen"


@agent.tool(idempotent=True)
async def hang_up(call: Call) -> str:
    """End the call."""
    await call.hang_up()
    return "ended"
