"""The `pydantic-ai` package: a realtime session beside a call that somebody else's audio is in."""

from __future__ import annotations

import sys

from pydantic_ai import Agent
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime import WebRTCSession
from pydantic_ai.realtime.openai import OpenAIRealtimeModel
from waiting import attach_as_told, run


async def order_status(order_id: str) -> str:  # noqa: ARG001 - the model says it
    """Look up the status of an order."""
    return '{"status":"ready"}'


async def main() -> None:
    """One agent and one model for all calls."""
    agent = Agent(instructions="You answer the phone.")
    agent.tool_plain(order_status)
    model = OpenAIRealtimeModel("gpt-realtime", provider=OpenAIProvider(base_url=sys.argv[1], api_key="sk-bench"))

    async def hold(call_id: str) -> None:
        beside = WebRTCSession("openai", session_id=call_id)
        async with agent.realtime(model).session(provider_session=beside) as session:
            async for _event in session:
                pass

    await attach_as_told(hold)


run(main())
