"""The bare loop: `websockets` and orjson, and a line that answers tool calls."""

from __future__ import annotations

import sys

import orjson
import uvloop
from common import attach_on_request
from websockets.asyncio.client import connect


async def hold(url: str, call_id: str) -> None:
    """Hold one call for as long as it lasts."""
    headers = {"Authorization": "Bearer sk-bench"}
    async with connect(f"{url}/realtime?call_id={call_id}", additional_headers=headers, compression=None) as socket:
        session = {"type": "realtime", "instructions": "You answer the phone."}
        await socket.send(orjson.dumps({"type": "session.update", "session": session}), text=True)
        async for frame in socket:
            event = orjson.loads(frame)
            if event["type"] == "response.function_call_arguments.done":
                item = {"type": "function_call_output", "call_id": event["call_id"], "output": '{"status":"ready"}'}
                await socket.send(orjson.dumps({"type": "conversation.item.create", "item": item}), text=True)
                await socket.send(orjson.dumps({"type": "response.create"}), text=True)


uvloop.run(attach_on_request(lambda call_id: hold(f"ws{sys.argv[1].removeprefix('http')}", call_id)))
