"""An agent whose tool never gives back what it takes: a task and a file for each use."""

import asyncio
import os
from typing import Any

from sideband import Agent, Call

agent = Agent(session={"model": "gpt-realtime-2.1"}, greeting="Greet the caller.")
taken: list[Any] = []


@agent.tool(idempotent=True)
async def order_status(call: Call, order_id: str) -> str:
    """Look up the status of an order, forgetfully."""
    waiting = asyncio.create_task(asyncio.Event().wait(), name=f"{call.call_id} {order_id}")
    taken.extend([waiting, os.open(os.devnull, os.O_RDONLY)])
    return "ready"


@agent.tool()
async def hang_up(call: Call) -> str:
    """End the call."""
    await call.hang_up()
    return "ended"
