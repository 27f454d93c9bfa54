"""Wait for what tells of no changes: a list, a file, the record that another process writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

LOOK_AGAIN_SECONDS = 0.02


async def until(look: Callable[[], Any], *, within_seconds: float = 60) -> Any:
    """Look until there is something, and give it.

    Args:
        look: called again and again, and its answer awaited if it is awaitable.

    Raises:
        TimeoutError: nothing was there in time.
    """
    async with asyncio.timeout(within_seconds):
        while True:
            found = look()
            if isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
