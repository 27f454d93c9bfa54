"""Users' code that does not heed its cancellation."""

from __future__ import annotations

import asyncio


async def wait_stubbornly(release: asyncio.Event) -> None:
    """Wait for an event, whoever cancels."""
    while not release.is_set():
        try:
            await release.wait()
        except asyncio.CancelledError:
            continue
