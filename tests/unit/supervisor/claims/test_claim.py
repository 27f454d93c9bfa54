"""A claim by itself: writable, lapsed, lost, and those who wait for the verdict."""

from __future__ import annotations

import asyncio
import time

import pytest

from supervisor.claims import Claim

SOON = 5.0


def lapsed_claim() -> Claim:
    return Claim(ack_id="1", message_id="1", data=b"", delivery_attempt=1)


def later() -> float:
    return time.monotonic() + 3600


async def waiting_on(claim: Claim) -> asyncio.Task[bool]:
    """Have somebody wait for the verdict."""
    task = asyncio.create_task(claim.verdict())
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_a_writable_claim() -> None:
    """The verdict is there at once, in the same step of the event loop."""
    claim = lapsed_claim()
    claim.renew(later())
    assert claim.may_write()
    with pytest.raises(StopIteration) as answered:
        claim.verdict().send(None)
    assert answered.value.value is True


async def test_a_lapse_that_ends_well() -> None:
    """All who wait go on."""
    claim = lapsed_claim()
    assert not claim.may_write()
    waiting = [await waiting_on(claim) for _ in range(3)]
    claim.renew(later())
    assert await asyncio.wait_for(asyncio.gather(*waiting), SOON) == [True, True, True]


async def test_a_lapse_that_ends_badly() -> None:
    """All who wait learn that the call is not ours, and so does whoever comes later."""
    claim = lapsed_claim()
    waiting = await waiting_on(claim)
    claim.end()
    assert not await asyncio.wait_for(waiting, SOON)
    claim.renew(later())
    assert not claim.may_write()
    assert not await asyncio.wait_for(claim.verdict(), SOON)


async def test_a_renewal_that_came_too_late() -> None:
    """It leaves the claim lapsed, and those who wait go on waiting."""
    claim = lapsed_claim()
    waiting = await waiting_on(claim)
    claim.renew(time.monotonic() - 1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    assert claim.confirmed
    claim.end()
    await waiting


async def test_answers_out_of_order() -> None:
    """A renewal that was sent first and answered last shortens nothing."""
    claim = lapsed_claim()
    claim.renew(sent_last := later())
    claim.renew(sent_last - 10)
    assert claim.write_until == sent_last
