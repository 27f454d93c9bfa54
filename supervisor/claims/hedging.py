"""Hedged requests.

When one is late, another is sent beside it, and the first success counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

AGAIN_SECONDS = 0.1  # between a request that failed and the next: a caller waits


async def hedged(
    request: Callable[[], Coroutine[None, None, bool]], *, late_seconds: float, within_seconds: float, name: str
) -> bool:
    """Send a request until one succeeds; return False when none did in time.

    The others are cancelled then. So the request must be one that may take effect more than once.

    Args:
        request: returns whether it succeeded; it raises only what is a bug.
        late_seconds: after which another is sent beside the last.
        within_seconds: for all of it.
        name: of the tasks.
    """
    until = time.monotonic() + within_seconds
    pending: set[asyncio.Task[bool]] = set()
    try:
        while (left := until - time.monotonic()) > 0:
            pending.add(asyncio.create_task(request(), name=name))
            wait_seconds = min(late_seconds, left)
            done, pending = await asyncio.wait(pending, timeout=wait_seconds, return_when=asyncio.FIRST_COMPLETED)
            if any(task.result() for task in done):
                return True
            if done:
                await asyncio.sleep(AGAIN_SECONDS)
        return False
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
