"""A stand-in for OpenAI, and clients of it: the official one, plain sockets, a webhook's receiver."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from emulator.openai import Call, Options, StandIn, serve
from tests.support.openai_types import check_client_event, check_server_event

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
OLD_SECRET = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="
OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
SESSION: Any = {"type": "realtime", "model": "gpt-realtime-2.1"}


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[StandIn, AsyncOpenAI]]:
    """Serve a stand-in, with a client of it.

    Everything that it sent is held against OpenAI's types afterwards.
    """
    async with serve(options=Options(**options)) as stand_in:
        async with client_of(stand_in) as client:
            yield stand_in, client
        for entry in stand_in.log:
            if entry.kind in ("frame_out", "frame_lost"):
                check_server_event(entry.payload)


def client_of(stand_in: StandIn, api_key: str = "sk-test") -> AsyncOpenAI:
    """Make OpenAI's client of a stand-in."""
    return AsyncOpenAI(
        api_key=api_key,
        webhook_secret=SECRET,
        base_url=stand_in.base_url,
        websocket_base_url=stand_in.websocket_base_url,
        max_retries=0,
    )


async def accepted_call(stand_in: StandIn, *script: dict[str, Any]) -> Call:
    """Place a call, and accept it."""
    call = await stand_in.place_call(script)
    call.accept(SESSION)
    return call


def attach(stand_in: StandIn, call: Call, *, key: str = "sk-test", who: str = "test/1") -> connect:
    """Open a sideband of a call."""
    return connect(
        f"{stand_in.websocket_base_url}/realtime?call_id={call.call_id}",
        additional_headers={"Authorization": f"Bearer {key}"},
        user_agent_header=who,
        max_queue=None,  # so that closing need not wait for what was not read
    )


async def refused_with(stand_in: StandIn, call: Call, **more: Any) -> int:
    """Try to open a sideband; returns the status of the refusal."""
    with pytest.raises(InvalidStatus) as refused:
        await attach(stand_in, call, **more)
    return refused.value.response.status_code


async def next_event(socket: ClientConnection, wanted: str) -> dict[str, Any]:
    """Read until an event of this type comes."""
    async with asyncio.timeout(10):
        while True:
            event: dict[str, Any] = json.loads(await socket.recv())
            if event["type"] == wanted:
                return event


async def say(socket: ClientConnection, **event: Any) -> None:
    """Send a client event, if OpenAI would take it."""
    check_client_event(event)
    await socket.send(json.dumps(event))


def kinds(call: Call, *wanted: str) -> list[str]:
    """Return the types of a call's log entries of these kinds."""
    return [entry.type for entry in call.log if entry.kind in wanted]


@asynccontextmanager
async def webhook_receiver(*statuses: int) -> AsyncIterator[tuple[str, "asyncio.Queue[tuple[bytes, dict[str, str]]]"]]:
    """Serve an endpoint of webhooks; yields its URL, and what is delivered to it.

    It answers with these statuses in turn, and with the last one for ever.
    """
    deliveries: asyncio.Queue[tuple[bytes, dict[str, str]]] = asyncio.Queue()
    answers = list(statuses)

    async def receive(request: web.Request) -> web.Response:
        deliveries.put_nowait((await request.read(), dict(request.headers)))
        return web.Response(status=answers.pop(0) if len(answers) > 1 else answers[0])

    app = web.Application()
    app.router.add_post("/webhooks/openai", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/openai", deliveries
    finally:
        await runner.cleanup()
