"""The `openai-agents` package: a `RealtimeRunner` with the model that attaches to SIP calls."""

from __future__ import annotations

import sys

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from agents.realtime.openai_realtime import OpenAIRealtimeSIPModel
from common import attach_on_request, run


@function_tool
async def order_status(order_id: str) -> str:  # noqa: ARG001 - the model says it
    """Look up the status of an order."""
    return '{"status":"ready"}'


async def hold(url: str, call_id: str) -> None:
    """Hold one call for as long as it lasts."""
    agent = RealtimeAgent(name="agent", instructions="You answer the phone.", tools=[order_status])
    runner = RealtimeRunner(agent, model=OpenAIRealtimeSIPModel())
    config = {"call_id": call_id, "api_key": "sk-bench", "url": f"{url}/realtime?call_id={call_id}"}
    async with await runner.run(model_config=config) as session:
        async for _event in session:
            pass


run(attach_on_request(lambda call_id: hold(f"ws{sys.argv[1].removeprefix('http')}", call_id)))
