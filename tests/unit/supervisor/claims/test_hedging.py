"""Hedged requests: the first success counts, and none is sent without need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

from supervisor.claims.hedging import hedged

LATE = 0.05
SOON = 5.0


class Requests:
    """Requests that are answered as told, in the order in which they are sent; None: never."""

    def __init__(self, *answers: bool | None) -> None:
        self.answers = list(answers)
        self.sent = self.cancelled = 0

    async def __call__(self) -> bool:
        """Send one."""
        self.sent += 1
        answer = self.answers.pop(0) if self.answers else None
        try:
            if answer is None:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return bool(answer)


async def outcome(request: Callable[[], Coroutine[None, None, bool]], within_seconds: float = SOON) -> bool:
    return await hedged(request, late_seconds=LATE, within_seconds=within_seconds, name="request")


async def test_an_answer_in_time() -> None:
    """One request is enough."""
    requests = Requests(True)
    assert await outcome(requests)
    assert requests.sent == 1


async def test_a_late_answer() -> None:
    """Another is sent beside the one that is late, and the late one is cancelled when it has succeeded."""
    requests = Requests(None, True)
    assert await outcome(requests)
    assert (requests.sent, requests.cancelled) == (2, 1)


async def test_the_first_may_still_win() -> None:
    """Being late, a request is not given up."""
    sent: list[asyncio.Event] = []

    async def request() -> bool:
        sent.append(asyncio.Event())
        if len(sent) == 2:
            sent[0].set()
        await sent[-1].wait()
        return True

    assert await outcome(request)
    assert len(sent) == 2


async def test_a_failure() -> None:
    """It is tried again."""
    requests = Requests(False, False, True)
    assert await outcome(requests)
    assert requests.sent == 3


async def test_no_answer_at_all() -> None:
    """It is over in time, and nothing is left behind."""
    requests, started = Requests(), time.monotonic()
    assert not await outcome(requests, within_seconds=4 * LATE)
    assert time.monotonic() - started >= 4 * LATE
    assert requests.cancelled == requests.sent > 1
