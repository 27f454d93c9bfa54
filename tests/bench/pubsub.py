"""An embedded Pub/Sub in a process of its own, so that nobody else pays for it: `python -m tests.bench.pubsub`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from emulator.pubsub import serve
from tests.support.edge_process import PATIENCE_SECONDS, ROOT


@asynccontextmanager
async def pubsub_process() -> AsyncIterator[str]:
    """Run Pub/Sub until the block is left; yields its HOST:PORT."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.pubsub",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            host_port = (await process.stdout.readline()).decode().strip()
        assert host_port, "the embedded Pub/Sub did not start"
        yield host_port
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)


async def _serve() -> None:
    async with serve() as server:
        sys.stdout.write(f"{server.host_port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)  # until whoever started this is gone


if __name__ == "__main__":
    asyncio.run(_serve())
