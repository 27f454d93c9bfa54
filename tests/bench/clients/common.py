"""What the clients have in common: each line of standard input says how many calls to attach more."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import uvloop


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on the loop that BENCH_LOOP names: asyncio's own, or else uvloop."""
    runner = asyncio.run if os.environ.get("BENCH_LOOP") == "asyncio" else uvloop.run
    runner(main)


async def attach_on_request(hold: Callable[[str], Awaitable[None]]) -> None:
    """Hold calls `call_1`, `call_2`, ... until standard input is closed."""
    held: set[asyncio.Future[None]] = set()
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        held.update(asyncio.ensure_future(hold(f"call_{len(held) + 1}")) for _ in range(int(line)))
    for holding in held:
        holding.cancel()
    await asyncio.gather(*held, return_exceptions=True)
