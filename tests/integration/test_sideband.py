"""The socket itself: what it leaves unread, and how it notices that nobody is at the other end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson
import pytest
from websockets.asyncio.server import serve
from websockets.server import ServerProtocol

from supervisor.errors import SidebandClosed
from supervisor.openai.sideband import Sideband, attach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.server import ServerConnection

DELTA = "response.output_audio_transcript.delta"


@asynccontextmanager
async def attached(port: int) -> AsyncIterator[Sideband]:
    sideband = await attach(f"ws://127.0.0.1:{port}", "rtc_1", bearer="sk-1", user_agent="test")
    try:
        yield sideband
    finally:
        sideband.abort()


@asynccontextmanager
async def sending(*frames: str) -> AsyncIterator[int]:
    """Serve these frames to whoever attaches and says something; yields the port."""

    async def send(socket: ServerConnection) -> None:
        await socket.recv()
        for frame in frames:
            await socket.send(frame)
        await socket.wait_closed()

    async with serve(send, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    "unread",
    [
        f'{{"type":"{DELTA}","delta":"so"}}',
        f'{{"event_id":"event_1","type":"{DELTA}","delta":"so"}}',
    ],
    ids=["type first", "id first"],
)
async def test_unread_frames_are_left_out(unread: str) -> None:
    """A frame of a type that nobody reads is left out."""
    async with sending('{"type":"wait"}', unread, '{"type":"response.done"}') as port, attached(port) as sideband:
        sideband.skim(lambda type_: type_ != DELTA)
        await sideband.send({"type": "go"})
        assert (await sideband.receive())["type"] == "wait"
        assert (await sideband.receive())["type"] == "response.done"


@pytest.mark.parametrize(
    "read",
    [
        f'{{"item":{{"type":"{DELTA}"}},"type":"response.done"}}',
        f'{{"event_id":"a\\",\\"type\\":\\"{DELTA}\\"","type":"response.done"}}',
        '{"x": 1, "type" : "response.done"}',
    ],
    ids=["the type of a part", "an id that looks like a type", "spaces"],
)
async def test_only_its_own_type_counts(read: str) -> None:
    """A frame is left out for its own type alone."""
    async with sending(read) as port, attached(port) as sideband:
        sideband.skim(lambda type_: type_ != DELTA)
        await sideband.send({"type": "go"})
        assert await sideband.receive() == orjson.loads(read)


async def test_answered_pings_keep_it() -> None:
    """A connection that answers pings stays."""
    async with sending('{"type":"one"}') as port, attached(port) as sideband:
        for _ in range(3):
            await sideband.ping()
            assert sideband._pong
            await asyncio.wait_for(asyncio.shield(sideband._pong), 5)
        await sideband.send({"type": "go"})
        assert (await sideband.receive())["type"] == "one"


async def test_silence_drops_it() -> None:
    """A connection whose other end is silent is dropped at the second ping."""

    async def shake_hands_and_fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        (request,) = protocol.events_received()
        protocol.send_response(protocol.accept(request))  # type: ignore[arg-type]
        writer.writelines(protocol.data_to_send())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(shake_hands_and_fall_silent, "127.0.0.1", 0)
    async with server, attached(server.sockets[0].getsockname()[1]) as sideband, asyncio.timeout(5):
        await sideband.ping()
        await sideband.ping()
        with pytest.raises(SidebandClosed, match="1006"):
            await sideband.receive()
