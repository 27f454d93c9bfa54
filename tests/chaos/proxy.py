"""A TCP proxy that can be cut, slow, or dead: one supervisor's way to Pub/Sub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards connections to `upstream`, HOST:PORT, unless it is cut."""

    def __init__(self, upstream: str) -> None:
        self.host_port = ""
        self.late_seconds = 0.0
        """How late everything arrives that is sent from now on, in either direction."""
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._open: set[asyncio.StreamWriter] = set()
        self._dead: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None] | None] = set()
        self._through = asyncio.Event()
        self._through.set()

    def cut(self) -> None:
        """Let nothing through any more; connections stay open, as with a lost route."""
        self._through.clear()

    def deaden(self) -> None:
        """Let nothing through on what is open now, for good, and say so to nobody; new connections work."""
        self._dead |= self._open

    def mend(self) -> None:
        """Let everything through again; tear what was open, so that clients connect anew."""
        for writer in self._open:
            writer.transport.abort()
        self._through.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until either side ends it."""
        self._serving.add(asyncio.current_task())
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, upstream_writer}
        self._open |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, upstream_writer), name="to Pub/Sub")
                group.create_task(self._pump(upstream_reader, writer), name="from Pub/Sub")
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def close(self) -> None:
        """Tear all connections, and wait until their tasks have ended."""
        self.mend()
        await asyncio.gather(*(task for task in self._serving if task), return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._through.wait()
                if self.late_seconds:
                    asyncio.get_running_loop().call_later(self.late_seconds, self._forward, data, writer)
                else:
                    self._forward(data, writer)
                    await writer.drain()
        writer.transport.abort()

    def _forward(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if writer not in self._dead and not writer.is_closing():
            writer.write(data)


@asynccontextmanager
async def proxy_to(upstream: str) -> AsyncIterator[Proxy]:
    """Run a proxy on a free port."""
    proxy = Proxy(upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    proxy.host_port = f"{host}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
