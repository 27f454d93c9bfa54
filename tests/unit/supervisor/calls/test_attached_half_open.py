"""A sideband that is open at our end alone is noticed soon; the seconds here are those that `tick` is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sideband import Agent
from supervisor.calls.attached import AttachedCall
from supervisor.calls.takeover import Before, Takeover
from supervisor.claims import Claim
from supervisor.errors import SidebandClosed
from supervisor.openai.sideband import Sideband
from supervisor.records.record import JournalEntry
from supervisor.records.writer import RecordWriter
from tests.support.call_context import Frames, call_context
from tests.support.faulty_store import FaultyStore

SOON = 5.0
MOST_SECONDS = 120
PHASES = range(25)
"""When the sideband goes deaf, in seconds after the attach: at every moment between two pings."""


class HalfOpen(Frames, Sideband):
    """Stands in for a `Sideband` that echoes the session, and goes deaf when `deaf` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.deaf = False
        self.configured = asyncio.Event()
        self._unanswered = False
        self._closed = asyncio.Event()

    def skim(self, _reads: Callable[[str], bool]) -> None:
        """Leave nothing out."""

    async def receive(self) -> Mapping[str, Any]:
        """Echo the session; after that, nothing is heard until the connection is dropped."""
        if not self.configured.is_set():
            self.configured.set()
            return {"type": "session.updated", "session": {}}
        await self._closed.wait()
        raise SidebandClosed(1006)

    async def ping(self) -> None:
        """Send a ping, or drop the connection if the last is unanswered."""
        if self._unanswered:
            self.abort()
        self._unanswered = self.deaf

    def abort(self) -> None:
        """Drop the connection."""
        super().abort()
        self._closed.set()


async def deaf_seconds(deaf_after: int, *journal: JournalEntry) -> int:
    """Return for how long a sideband stays deaf, by the clock that ticks are told."""
    handle = await RecordWriter(FaultyStore()).open("call", "message", within_seconds=SOON)
    handle.record.journal = {entry.tool_call_id: entry for entry in journal}
    sideband = HalfOpen()
    context = call_context(Agent(session={"model": "gpt-realtime-2.1"}), handle, sideband)
    attached = AttachedCall.of(context, Takeover(Before.NOBODY))
    running = asyncio.ensure_future(attached.run())
    await asyncio.wait_for(sideband.configured.wait(), SOON)
    began = time.time()
    for second in range(1, MOST_SECONDS):
        sideband.deaf = second >= deaf_after
        attached.tick(began + second)
        await asyncio.sleep(0)  # for the task of a ping
        if sideband.aborted:
            _lose(context.claim)
            await asyncio.wait_for(running, SOON)
            return second - deaf_after
    raise AssertionError(f"deaf for {MOST_SECONDS} s")


def _lose(claim: Claim) -> None:
    claim.lost = True  # so that nothing attaches again


@pytest.mark.parametrize("deaf_after", PHASES)
async def test_a_deaf_sideband_is_dropped(deaf_after: int) -> None:
    """Where nothing is said, ten seconds and a tick are enough to notice."""
    assert await deaf_seconds(deaf_after) <= 11


async def test_an_output_asks_sooner() -> None:
    """An output that OpenAI does not show is reason to look after three seconds, and to give up after three more."""
    output = JournalEntry("call_1", "count", "{}", started_at=1.0, outcome="1")
    assert await deaf_seconds(1, output) <= 7
    assert await deaf_seconds(1, output) < max([await deaf_seconds(phase) for phase in PHASES])


async def test_a_living_sideband_stays() -> None:
    """An output that is not shown is no reason to drop a connection that answers pings."""
    output = JournalEntry("call_1", "count", "{}", started_at=1.0, outcome="1")
    with pytest.raises(AssertionError, match="deaf for"):
        await deaf_seconds(MOST_SECONDS, output)
