"""The `pydantic-ai` package: a realtime session beside a call that somebody else's audio is in."""

from __future__ import annotations

import sys

from common import attach_on_request, run
from pydantic_ai import Agent
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime import WebRTCSession
from pydantic_ai.realtime.openai import OpenAIRealtimeModel


async def order_status(order_id: str) -> str:  # noqa: ARG001 - the model says it
    """Look up the status of an order."""
    return '{"status":"ready"}'


async def main() -> None:
    """Hold all calls with one agent and one model."""
    agent = Agent(instructions="You answer the phone.")
    agent.tool_plain(order_status)
    model = OpenAIRealtimeModel("gpt-realtime", provider=OpenAIProvider(base_url=sys.argv[1], api_key="sk-bench"))

    async def hold(call_id: str) -> None:
        """Hold one call for as long as it lasts."""
        provider_session = WebRTCSession("openai", session_id=call_id)
        async with agent.realtime(model).session(provider_session=provider_session) as session:
            async for _event in session:
                pass

    await attach_on_request(hold)


run(main())
