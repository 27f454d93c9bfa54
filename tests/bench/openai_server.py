"""A light server in OpenAI's place, in a process of its own: it costs less than what it measures.

    python -m tests.bench.openai_server       prints its port, then serves until its standard input is closed

Its frames come from a tape, ready as bytes. What to play is requested over HTTP, one request at a time:

    GET  /bench/calls          {"attached", "configured", "accepted"}: the call ids of each, with Unix times
    POST /bench/play           {"turns", "frames_per_second", "apart"}: turns in all attached calls; if `apart` they
                               begin spread over a turn, as those of real calls do, and each turn begins with an
                               event that says when it was sent; answers {"frames", "seconds"}
    POST /bench/tools          {"calls", "rounds", "pause_ms"}: tool calls in so many of them at once; answers
                               {"ms": [...]}, from just before the call is written to the arrival of its output
    POST /bench/forget         what was attached, configured and accepted so far
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import uvloop
from aiohttp import WSMsgType, web

from tests.bench.tape import TAG, Tape, frame, record

SLOT_SECONDS = 0.005  # calls take turns in so short steps, so that their frames don't come all at once
ANSWER_SECONDS = 60.0
EVERY_THIRD = 3


@dataclass(eq=False)
class Call:
    """One attached call."""

    server: Server
    transport: asyncio.Transport
    outputs: dict[str, float] = field(default_factory=dict)
    """When the output of each tool call arrived, by `time.perf_counter`."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Something arrived from the client."""
    item: dict[str, Any] = field(default_factory=dict)
    """The last item that the client made."""
    requested: list[dict[str, Any]] = field(default_factory=list)
    """The `response` of each `response.create` that has no response yet."""
    live: bool = False
    """Whether tool calls are answered at once, and not by whoever plays turns."""

    def write(self, *events: dict[str, Any]) -> None:
        """Send events."""
        self.transport.write(b"".join(frame(orjson.dumps(event)) for event in events))

    def receive(self, event: dict[str, Any]) -> None:
        """Take a client's event."""
        match event["type"]:
            case "session.update":
                self.write(self.server.tape.configured)
            case "conversation.item.create":
                self.item = {"object": "realtime.item", "id": f"item_{self.server.number():08x}"} | event["item"]
                if self.item["type"] == "function_call_output":
                    self.outputs[self.item["call_id"]] = time.perf_counter()
            case "response.create":
                self.requested.append(event.get("response") or {})
        self.news.set()
        if self.requested and self.live:
            self.transport.write(b"".join(self.answer_frames()))

    def answer_frames(self) -> list[bytes]:
        """Return the response that was requested: after a tool's output, or as a greeting."""
        response = self.requested.pop(0)
        tape = self.server.tape
        events = tape.answered if self.item else tape.greeting
        if self.item:
            shown = ({**event, "item": self.item} for event in events[:2])
            events = [*shown, *events[2:]]
        self.item = {}
        metadata = response.get("metadata")
        with_metadata = [
            {**event, "response": {**event["response"], "metadata": metadata}} if "response" in event else event
            for event in events
        ]
        tag = b"%08x" % self.server.number()
        return [frame(orjson.dumps(event).replace(TAG, tag)) for event in with_metadata]

    def turns(self, count: int, *, later: float | None) -> Iterator[bytes | None]:
        """Give the frames of some turns; None while the client's answer is awaited.

        Args:
            count: how many.
            later: by which share of a turn the first begins later, with stamps; None for at once, without.
        """
        tape, self.live = self.server.tape, False
        yield from [None] * round((later or 0) * len(tape.turn))
        for turn in range(1, count + 1):
            if later is not None:
                yield frame(b'{"type":"bench.stamp","at_ns":%d}' % time.monotonic_ns())
            if turn % EVERY_THIRD:
                yield from tape.turn.frames(self.server.number())
                continue
            yield from tape.tool_turn.frames(self.server.number())
            while not self.requested:
                yield None
            yield from self.answer_frames()
        self.live = True


class Server:
    """All calls."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.calls: dict[str, Call] = {}
        self.times: dict[str, dict[str, list[float]]] = {}
        self._number = 0

    def number(self) -> int:
        """Return a number that nothing had before."""
        self._number += 1
        return self._number

    def note(self, what: str, call_id: str) -> None:
        """Note that something happened to a call now."""
        self.times.setdefault(what, {}).setdefault(call_id, []).append(time.time())

    async def attach(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one sideband until it is closed."""
        call_id = request.query["call_id"]
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        transport = cast("asyncio.Transport", request.transport)
        call = self.calls[call_id] = Call(self, transport, live=True)
        self.note("attached", call_id)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                event = orjson.loads(message.data)
                call.receive(event)
                if event["type"] == "session.update":
                    self.note("configured", call_id)
        finally:
            if self.calls.get(call_id) is call:
                del self.calls[call_id]
            self.note("closed", call_id)
        return socket

    async def accept(self, request: web.Request) -> web.Response:
        """Accept, reject or hang up, always with success."""
        self.note(request.match_info["operation"], request.match_info["call_id"])
        return web.json_response({})

    async def show(self, _request: web.Request) -> web.Response:
        """Answer what has happened, and when."""
        return web.json_response(self.times, dumps=lambda value: orjson.dumps(value).decode())

    async def forget(self, _request: web.Request) -> web.Response:
        """Forget what has happened."""
        self.times.clear()
        return web.json_response({})

    async def play(self, request: web.Request) -> web.Response:
        """Play turns at a pace; answers how many frames that were."""
        body = await request.json()
        rate = float(body["frames_per_second"])
        calls = list(self.calls.values())
        later = [at / len(calls) if body["apart"] else None for at in range(len(calls))]
        playing = [(call, call.turns(body["turns"], later=share)) for call, share in zip(calls, later, strict=True)]
        slots = max(1, round(1 / rate / SLOT_SECONDS))
        started, frames, step = time.perf_counter(), 0, 0
        while playing:
            ended = set()
            for call, turns in playing[step % slots :: slots]:
                try:
                    if call.transport.is_closing():
                        return web.json_response({"error": "a client has closed its sideband"}, status=409)
                    if (piece := next(turns)) is not None:
                        call.transport.write(piece)
                        frames += 1
                except StopIteration:
                    ended.add(call)
            playing = [one for one in playing if one[0] not in ended] if ended else playing
            step += 1
            await asyncio.sleep(max(0.0, started + step / rate / slots - time.perf_counter()))
        return web.json_response({"frames": frames, "seconds": time.perf_counter() - started})

    async def tools(self, request: web.Request) -> web.Response:
        """Call tools in many calls at once; answers how long each output took."""
        body = await request.json()
        ms: list[float] = []
        for _ in range(body["rounds"]):
            calls = list(self.calls.values())[: body["calls"]]
            for call in calls:
                call.live = False  # to answer takes time, and would delay the outputs of others
            numbers = [self.number() for _ in calls]
            pieces = [self.tape.tool_call.tagged(number) for number in numbers]
            ids = [_tool_call_id(piece) for piece in pieces]
            began: list[float] = []
            for call, piece in zip(calls, pieces, strict=True):
                began.append(time.perf_counter())
                call.transport.write(piece)
            async with asyncio.timeout(ANSWER_SECONDS):
                for call, tool_call_id, at in zip(calls, ids, began, strict=True):
                    while tool_call_id not in call.outputs:
                        call.news.clear()
                        await call.news.wait()
                    ms.append(1000 * (call.outputs.pop(tool_call_id) - at))
                for call in calls:
                    while not call.requested:
                        call.news.clear()
                        await call.news.wait()
                    call.transport.write(b"".join(call.answer_frames()))
                    call.live = True
            await asyncio.sleep(body["pause_ms"] / 1000)
        return web.json_response({"ms": ms})


def _tool_call_id(piece: bytes) -> str:
    start = piece.index(b'"call_id":"') + len(b'"call_id":"')
    return piece[start : piece.index(b'"', start)].decode()


async def main() -> None:
    """Serve until standard input is closed."""
    server = Server(await record())
    app = web.Application()
    app.add_routes(
        [
            web.get("/v1/realtime", server.attach),
            web.post("/v1/realtime/calls/{call_id}/{operation}", server.accept),
            web.get("/bench/calls", server.show),
            web.post("/bench/play", server.play),
            web.post("/bench/tools", server.tools),
            web.post("/bench/forget", server.forget),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    with suppress(EOFError):
        await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
