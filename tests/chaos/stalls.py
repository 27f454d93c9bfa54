"""How late the machine was: a busy one delays all processes, which is no fault of theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import NamedTuple

TICK_SECONDS = 0.02
NOTICED_SECONDS = 0.005  # what a timer may always be late


class Stall(NamedTuple):
    """A timer that rang late: when it was due, and when it rang; monotonic seconds."""

    due: float
    rang: float


async def note_stalls_forever(stalls: list[Stall]) -> None:
    """Set one timer after the other, and keep those that ring late."""
    while True:
        due = time.monotonic() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        rang = time.monotonic()
        if rang - due > NOTICED_SECONDS:
            stalls.append(Stall(due, rang))


def seconds_without_stalls(since: float, until: float, stalls: Iterable[Stall]) -> float:
    """Return the length of a span, less the stalls in it.

    It is 0 for a span that ends before it begins.
    """
    late = sum(max(0.0, min(until, stall.rang) - max(since, stall.due)) for stall in stalls)
    return max(0.0, until - since - late)
