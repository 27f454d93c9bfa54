"""A machine that is too busy is noticed by its own timers."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.chaos.stalls import Stall, note_stalls_forever, seconds_without_stalls


async def test_stalls_are_noted() -> None:
    """While nothing runs for 0.3 s, timers ring late by nearly as much."""
    stalls: list[Stall] = []
    noting = asyncio.create_task(note_stalls_forever(stalls), name="note stalls")
    while not stalls:
        time.sleep(0.3)  # noqa: ASYNC251 - which holds up the timer that was set meanwhile
        await asyncio.sleep(0)
    noting.cancel()
    assert max(stall.rang - stall.due for stall in stalls) > 0.2


@pytest.mark.parametrize(
    ("since", "until", "seconds"),
    [(0, 1, 1), (0, 3, 2.5), (2.25, 3, 0.5), (2.1, 2.2, 0), (0, 10, 7.5), (5, 4, 0)],
)
def test_stalls_are_taken_off(since: float, until: float, seconds: float) -> None:
    """A span is as long as the machine was in time within it."""
    stalls = [Stall(2, 2.5), Stall(6, 8)]
    assert seconds_without_stalls(since, until, stalls) == pytest.approx(seconds)
