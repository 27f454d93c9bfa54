"""The agent under chaos: tools that take time, and leave a line in the file `EFFECTS` for each time they run."""

import asyncio
import os
import time

from supervisor import Agent, Call

agent = Agent(session={"model": "gpt-realtime-2.1"}, greeting="Greet the caller.")


def effect(call: Call, kind: str) -> None:
    """Do something in the world: append a line, whole or not at all."""
    call.state["effects"] = call.state.get("effects", 0) + 1
    line = f"{kind} {call.idempotency_key} {os.getpid()} {time.time():.6f}\n"
    file = os.open(os.environ["EFFECTS"], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


@agent.tool(timeout=30)
async def pay(call: Call, ms: int) -> str:
    """Do what must not happen twice, then take some time."""
    effect(call, "once")
    await asyncio.sleep(ms / 1000)
    return "paid"


@agent.tool(idempotent=True, timeout=30)
async def look(call: Call, ms: int) -> str:
    """Do what may happen twice, then take some time."""
    effect(call, "again")
    await asyncio.sleep(ms / 1000)
    return "seen"
