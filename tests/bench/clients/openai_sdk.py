"""The `openai` package's realtime connection, as its documentation shows it."""

from __future__ import annotations

import sys

from common import attach_on_request, run
from openai import AsyncOpenAI


async def hold(client: AsyncOpenAI, call_id: str) -> None:
    """Hold one call for as long as it lasts."""
    async with client.realtime.connect(call_id=call_id) as connection:
        await connection.session.update(session={"type": "realtime", "instructions": "You answer the phone."})
        async for event in connection:
            if event.type == "response.function_call_arguments.done":
                item = {"type": "function_call_output", "call_id": event.call_id, "output": '{"status":"ready"}'}
                await connection.conversation.item.create(item=item)
                await connection.response.create()


async def main() -> None:
    """Hold all calls with one client."""
    client = AsyncOpenAI(api_key="sk-bench", base_url=sys.argv[1])
    await attach_on_request(lambda call_id: hold(client, call_id))


run(main())
