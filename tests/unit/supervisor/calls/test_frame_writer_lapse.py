"""The writer of a call whose claim is lapsed: frames wait for the verdict, in their order."""

from __future__ import annotations

import asyncio
import time

import pytest

from supervisor.calls.fence import Fence, Why
from supervisor.calls.frame_writer import FrameWriter
from supervisor.claims import Claim
from supervisor.conversation.actions import Send
from tests.support.call_context import Frames, lasting_claim

SOON = 5.0


async def waiting(claim: Claim, frames: Frames) -> tuple[Fence, asyncio.Future[list[None]]]:
    """Have two batches wait for the verdict about a lapsed claim."""
    claim.write_until = time.monotonic()
    fence = Fence(claim)
    writer = FrameWriter(fence)
    writer.attach(frames.as_sideband())
    batches = [Send({"type": "a1"}), Send({"type": "a2"})], [Send({"type": "b"})]
    writing = asyncio.gather(*(writer.write(batch) for batch in batches))
    await asyncio.sleep(0)
    assert not writing.done()
    return fence, writing


async def test_a_renewal_lets_them_pass() -> None:
    """Once the claim is renewed, what waited is written in the order in which it was decided."""
    claim, frames = lasting_claim(), Frames()
    _, writing = await waiting(claim, frames)
    assert frames.sent == []
    claim.renew(time.monotonic() + 60)
    await asyncio.wait_for(writing, SOON)
    assert [frame["type"] for frame in frames.sent] == ["a1", "a2", "b"]


@pytest.mark.parametrize("closed", [False, True], ids=["the claim ends", "the fence closes too"])
async def test_a_loss_leaves_them_out(*, closed: bool) -> None:
    """When the claim is lost, nothing of what waited is written."""
    claim, frames = lasting_claim(), Frames()
    fence, writing = await waiting(claim, frames)
    if closed:
        fence.close(Why.LOST)
    claim.end()
    await asyncio.wait_for(writing, SOON)
    assert frames.sent == []
