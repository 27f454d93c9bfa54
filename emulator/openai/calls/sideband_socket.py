"""One attached sideband socket, from the server's side."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from aiohttp import ClientConnectionResetError, WSMsgType, web

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_WAITING_FRAMES = 20_000
_CLOSE_TIMEOUT_SECONDS = 2


class SidebandSocket:
    """A sideband socket.

    Args:
        connection: The prepared WebSocket.
        transport: The connection's.
        number: Which attach of its call it is, counted from 1.
        who: The client's `User-Agent`.
        port: The client's port.
        delay_seconds: Called before each frame; says how long to hold it back.
    """

    def __init__(
        self,
        connection: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        number: int,
        who: str,
        port: int | None,
        delay_seconds: Callable[[], float],
    ) -> None:
        self.number = number
        self.who = who
        self.port = port
        self._connection = connection
        self._transport = transport
        self._delay_seconds = delay_seconds
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closing: Callable[[], None] | int | None = None

    @property
    def open(self) -> bool:
        """Whether frames can still be sent."""
        return self._closing is None

    def send(self, frame: bytes) -> None:
        """Queue a frame; a client that does not read is cut off."""
        if self._closing is None:
            self._frames.append(frame)
            self._wake.set()
            if len(self._frames) > _MAX_WAITING_FRAMES:
                self.abort()

    def close(self, code: int | None) -> None:
        """Close after the queued frames; without a code, by closing TCP alone."""
        if self._closing is None:
            self._closing = self._transport.close if code is None else code
            self._wake.set()
            # A client that does not read cannot hold the end up.
            asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT_SECONDS, self._transport.abort)

    def abort(self) -> None:
        """Close at once; queued frames are lost."""
        self._closing = self._transport.abort
        self._frames.clear()
        self._transport.abort()
        self._wake.set()

    async def write(self) -> None:
        """Send the queued frames until the socket is closed."""
        while self._closing is None or self._frames:
            await self._wake.wait()
            self._wake.clear()
            while self._frames:
                if delay := self._delay_seconds():
                    await asyncio.sleep(delay)
                if self._frames:  # an abort may have cleared them during the delay
                    try:
                        await self._connection.send_frame(self._frames.popleft(), WSMsgType.TEXT)
                    except ClientConnectionResetError:
                        return  # the reader sees the loss too, and detaches
        if callable(self._closing):
            self._closing()
        else:
            await self._connection.close(code=self._closing)
