"""The sideband: the control socket that is attached to a call (openai-realtime.md#sideband).

Nobody reads most of what comes: two frames in three are single words of what the model is saying. Such a frame is
dropped as soon as its bytes are there, before it is parsed or wakes a task.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from supervisor.errors import AttachError, SidebandClosed

OPEN_SECONDS = 5.0
WRITE_SECONDS = 5.0
CLOSE_SECONDS = 2.0  # OpenAI often drops the connection without a close frame (openai-realtime.md#close)
LARGEST_FRAME_BYTES = 16 * 1024 * 1024  # conversation.item.retrieved holds audio

_TYPE = re.compile(rb'\{(?:"event_id":"[^"\\]*",)?"type":"([a-z_.]+)"')
"""An event's type, where it stands at the front; a frame that is written in any other way is simply read."""

Reads = Callable[[str], bool]
"""Whether anybody reads events of a type now."""


class _Skimming(ClientConnection):
    """A connection that drops frames which nobody reads."""

    reads: Reads = staticmethod(lambda _type: True)

    def process_event(self, event: Event) -> None:
        """Drop a frame that nobody reads; pass on any other."""
        if isinstance(event, Frame) and event.opcode is Opcode.TEXT and event.fin:
            named = _TYPE.match(event.data)
            if named and not self.reads(named[1].decode()):
                return
        super().process_event(event)


class Sideband:
    """One attached socket: decoded JSON in and out."""

    def __init__(self, socket: _Skimming) -> None:
        self._socket = socket
        self._pong: asyncio.Future[float] | None = None

    def skim(self, reads: Reads) -> None:
        """Leave out events, from now on, that nobody `reads`."""
        self._socket.reads = reads

    async def receive(self) -> Mapping[str, Any]:
        """Wait for the next server event.

        Frames that are not JSON objects are left out.

        Raises:
            SidebandClosed: the socket is closed, and everything before that was received.
        """
        while True:
            try:
                frame = await self._socket.recv(decode=False)
            except ConnectionClosed as closed:
                raise _closed(closed) from closed
            try:
                event = orjson.loads(frame)
            except orjson.JSONDecodeError:
                continue
            if isinstance(event, dict):
                return event

    async def send(self, event: Mapping[str, Any]) -> None:
        """Write one client event.

        Raises:
            SidebandClosed: the socket is closed, or so slow that it is given up.
        """
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._socket.send(orjson.dumps(event), text=True)
        except ConnectionClosed as closed:
            raise _closed(closed) from closed
        except TimeoutError as error:
            self.abort()
            raise SidebandClosed(1006, f"a frame could not be written in {WRITE_SECONDS:.0f} s") from error

    async def ping(self) -> None:
        """Send a ping, or drop the connection if the last is unanswered."""
        if self._pong and not self._pong.done():
            self.abort()
            return
        with suppress(ConnectionClosed):  # which the reader sees
            async with asyncio.timeout(WRITE_SECONDS):
                self._pong = asyncio.ensure_future(await self._socket.ping())

    async def close(self) -> None:
        """Close the socket. This does not hang up."""
        await self._socket.close()

    def abort(self) -> None:
        """Drop the connection with all that it has not yet written."""
        self._socket.transport.abort()


async def attach(websocket_base_url: str, call_id: str, *, bearer: str, user_agent: str) -> Sideband:
    """Attach to a call.

    The socket is silent until we write: no `session.created` comes (openai-realtime.md#first-events).

    Raises:
        AttachError: OpenAI refused (with the HTTP status), or could not be reached in time.
    """
    url = f"{websocket_base_url}/realtime?call_id={quote(call_id, safe='')}"
    try:
        socket = await connect(
            url,
            additional_headers={"Authorization": f"Bearer {bearer}"},
            user_agent_header=user_agent,
            create_connection=_Skimming,
            ping_interval=None,  # the supervisor's tick pings for all calls: see `ping`
            compression=None,  # deflate costs 45 kB a call
            max_size=LARGEST_FRAME_BYTES,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
        )
    except InvalidStatus as error:
        detail = bytes(error.response.body or b"")[:200].decode(errors="replace")
        raise AttachError(call_id, error.response.status_code, detail) from error
    except (InvalidHandshake, OSError, TimeoutError) as error:
        raise AttachError(call_id, None, str(error) or type(error).__name__) from error
    for message in (socket.request, socket.response):
        if message:
            message.headers.clear()  # 3 kB for as long as the call lives, and the key is among them
    return Sideband(cast("_Skimming", socket))


def _closed(closed: ConnectionClosed) -> SidebandClosed:
    if closed.rcvd is None:
        return SidebandClosed(1006, "no close frame")
    return SidebandClosed(closed.rcvd.code, closed.rcvd.reason)
