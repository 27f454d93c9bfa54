"""A stand-in for OpenAI's Realtime API on one machine.

It behaves as the real service is documented to, and was recorded; where that is uncertain, `Options` chooses. Callers
and models follow a script (`emulator.openai.script`), faults can be injected at any time, a log says who wrote what.

    async with serve(options=Options(webhook_url="http://127.0.0.1:8080/", webhook_secrets=["whsec_..."])) as openai:
        client = AsyncOpenAI(api_key="sk-test", base_url=openai.base_url, websocket_base_url=openai.websocket_base_url)
        call = await openai.place_call([{"caller": "Is B-1042 on its way?"}, {"model": "It is."}, {"hang_up": True}])
        await call.ended(timeout_seconds=10)   # "caller_hung_up"

Other processes do the same over HTTP:

    POST   /stand-in/calls               {"script": [...], "from_number", "to_number", "headers": [["X-Id", "1"]],
                                          "webhook": true | false}, all optional; answers as the next but one
    GET    /stand-in/calls               all calls
    GET    /stand-in/calls/{id}          {"call_id", "state": "ringing" | "accepted" | "ended", "end_reason", ...}
    POST   /stand-in/calls/{id}/hang_up  the caller hangs up, now
    POST   /stand-in/calls/{id}/say      {"text": "..."}: the caller says something, now
    POST   /stand-in/calls/{id}/dtmf     {"keys": "12#"}
    GET    /stand-in/log?after=N         entries after sequence number N; wait_seconds= until there is one; call_id=
    POST   /stand-in/faults              {"fault": "rest" | "upgrade" | "cut" | "delay" | "webhook", ...}, see `Fault`
    GET    /stand-in/faults              the faults, with how often each has struck; DELETE forgets them
    PATCH  /stand-in/options             {"speed": 5, ...}, see `Options`; GET shows them

What is wrong in a request to these is answered by 400 and {"error": {"message"}}.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from emulator.openai.api.requests import stand_in_key
from emulator.openai.api.rest import rest_middleware, rest_routes
from emulator.openai.api.sideband import sideband_routes
from emulator.openai.api.stand_in_control import control_middleware, control_routes
from emulator.openai.api.webhook_endpoints import endpoint_routes
from emulator.openai.calls.call import Call
from emulator.openai.errors import ApiError
from emulator.openai.faults import CutFault, DelayFault, Fault, RestFault, UpgradeFault, WebhookFault
from emulator.openai.log import Entry, Log
from emulator.openai.options import Options
from emulator.openai.script import ScriptError, parse_script
from emulator.openai.stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = [
    "ApiError",
    "Call",
    "CutFault",
    "DelayFault",
    "Entry",
    "Fault",
    "Log",
    "Options",
    "RestFault",
    "ScriptError",
    "StandIn",
    "UpgradeFault",
    "WebhookFault",
    "parse_script",
    "serve",
]

_BACKLOG = 2048
_MAX_BODY_BYTES = 4 * 1024 * 1024
_SHUTDOWN_SECONDS = 1


@asynccontextmanager
async def serve(host: str = "127.0.0.1", port: int = 0, options: Options | None = None) -> AsyncIterator[StandIn]:
    """Run a stand-in until the block is left.

    Args:
        host: The address to listen on.
        port: The port; 0 takes a free one.
        options: How this OpenAI behaves.

    Raises:
        OSError: the port is taken.
    """
    listener = socket.create_server((host, port), backlog=_BACKLOG)
    started: asyncio.Future[StandIn] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    running = asyncio.create_task(_run(listener, options or Options(), started, stop), name="stand-in for OpenAI")
    either: set[asyncio.Future[Any]] = {started, running}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            yield started.result()
    finally:
        stop.set()
        await running


async def _run(
    listener: socket.socket, options: Options, started: asyncio.Future[StandIn], stop: asyncio.Event
) -> None:
    """Serve until `stop` is set.

    A task group of its own keeps the user's errors apart from ours.
    """
    host, port = listener.getsockname()[:2]
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
        stand_in = StandIn(options, host=host, port=port, tasks=tasks, http=http)
        if options.log_path:
            stand_in.log.open(options.log_path)
        runner = web.AppRunner(_app(stand_in), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            started.set_result(stand_in)
            await stop.wait()
        finally:
            stand_in.close()
            await runner.cleanup()
            stand_in.close()  # once more, for what the last requests began
            stand_in.log.close()


def _app(stand_in: StandIn) -> web.Application:
    app = web.Application(middlewares=[control_middleware, rest_middleware], client_max_size=_MAX_BODY_BYTES)
    app[stand_in_key] = stand_in
    app.add_routes([*rest_routes(), *sideband_routes(), *control_routes(), *endpoint_routes()])
    return app
