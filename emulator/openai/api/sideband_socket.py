"""One attached sideband socket, from the server's side: frames go out in order, and it can be cut in several ways."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from aiohttp import ClientConnectionResetError, WSMsgType, web

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_WAITING_FRAMES = 20_000
_CLOSE_TIMEOUT_SECONDS = 2


class Socket:
    """A sideband socket.

    Args:
        connection: The prepared WebSocket.
        transport: What is under it.
        number: The how-manieth attach of its call it is.
        who: The client's `User-Agent`.
        port: The client's port.
        delay_seconds: Asked before each frame how long it is to be held back.
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
        """Whether frames can still be put on the way."""
        return self._closing is None

    def send(self, frame: bytes) -> None:
        """Put a frame on the way. A client that has stopped reading for too long is cut off."""
        if self._closing is None:
            self._frames.append(frame)
            self._wake.set()
            if len(self._frames) > _MAX_WAITING_FRAMES:
                self.abort()

    def close(self, code: int | None) -> None:
        """End the connection after what is on the way: with a close frame, or (None) by closing TCP alone."""
        if self._closing is None:
            self._closing = self._transport.close if code is None else code
            self._wake.set()
            # A client that does not read cannot hold the end up.
            asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT_SECONDS, self._transport.abort)

    def abort(self) -> None:
        """Tear the connection down at once; what is on the way is lost."""
        self._closing = self._transport.abort
        self._frames.clear()
        self._transport.abort()
        self._wake.set()

    async def write(self) -> None:
        """Carry frames out until the socket is closed."""
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
