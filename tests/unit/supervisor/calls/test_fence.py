"""The fence: what runs inside ends when it closes, and nothing else does."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.calls.fence import Fence, Why
from tests.support.call_context import lasting_claim

SOON = 5.0


async def wait_inside(fence: Fence, entered: asyncio.Event, after: list[str]) -> None:
    """Wait in a fence until it is closed, and do something more afterwards."""
    async with fence:
        entered.set()
        await asyncio.Event().wait()
    await asyncio.sleep(0)  # where a cancellation that is left over would strike
    after.append("done")


async def started(fence: Fence, after: list[str]) -> asyncio.Task[None]:
    entered = asyncio.Event()
    task = asyncio.create_task(wait_inside(fence, entered, after))
    await entered.wait()
    return task


@pytest.mark.parametrize("why", Why)
async def test_close_ends_the_block(why: Why) -> None:
    """Another task closes it; the block ends without an exception, and what comes after it goes on."""
    fence, after = Fence(lasting_claim()), list[str]()
    task = await started(fence, after)
    fence.close(why)
    await asyncio.wait_for(task, SOON)
    assert (fence.closed, after, task.cancelling()) == (why, ["done"], 0)


async def test_a_block_that_is_done() -> None:
    """It ends by itself, and a close that comes later changes nothing."""
    async with Fence(lasting_claim()) as fence:
        await asyncio.sleep(0)
    fence.close(Why.LOST)
    await asyncio.sleep(0)
    assert fence.closed is None


async def test_close_before_the_block() -> None:
    """Nothing runs inside yet, so nothing is ended."""
    fence = Fence(lasting_claim())
    fence.close(Why.LOST)
    async with fence:
        await asyncio.sleep(0)
    assert fence.closed is None


async def test_the_first_reason_counts() -> None:
    """A claim is often lost and its record superseded at the same moment."""
    fence = Fence(lasting_claim())
    task = await started(fence, [])
    fence.close(Why.SUPERSEDED)
    fence.close(Why.LOST)
    await asyncio.wait_for(task, SOON)
    assert fence.closed is Why.SUPERSEDED


async def test_cancelled_from_outside() -> None:
    """An open fence lets a cancellation through."""
    fence, after = Fence(lasting_claim()), list[str]()
    task = await started(fence, after)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (fence.closed, after) == (None, [])


@pytest.mark.parametrize("order", ["close, cancel", "cancel, close"])
async def test_closed_and_cancelled(order: str) -> None:
    """A process stops while a claim is lost: the cancellation from outside is not swallowed."""
    fence, after = Fence(lasting_claim()), list[str]()
    task = await started(fence, after)
    for step in order.split(", "):
        if step == "close":
            fence.close(Why.LOST)
            await asyncio.sleep(0)  # the fence has cancelled; the task did not run since
        else:
            task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert after == []


async def test_closed_by_its_own_task() -> None:
    """The block may be done before the close takes effect; then nothing is cancelled later on."""
    async with Fence(lasting_claim()) as fence:
        fence.close(Why.LOST)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert fence.closed is Why.LOST


async def test_an_error_in_the_block() -> None:
    """What goes wrong while the block is being ended is not hidden."""
    fence = Fence(lasting_claim())

    async def fail_at_the_end() -> None:
        async with fence:
            try:
                await asyncio.Event().wait()
            finally:
                raise OverflowError

    task = asyncio.create_task(fail_at_the_end())
    await asyncio.sleep(0)
    fence.close(Why.LOST)
    with pytest.raises(OverflowError):
        await asyncio.wait_for(task, SOON)
    assert task.cancelling() == 0


async def test_a_time_limit_inside() -> None:
    """A limit in the block does not take the fence's cancellation for its own."""
    fence, timed_out = Fence(lasting_claim()), list[TimeoutError]()

    async def wait_with_limit() -> None:
        async with fence:
            try:
                async with asyncio.timeout(60):
                    await asyncio.Event().wait()
            except TimeoutError as error:
                timed_out.append(error)

    task = asyncio.create_task(wait_with_limit())
    await asyncio.sleep(0)
    fence.close(Why.HANDED_OVER)
    await asyncio.wait_for(task, SOON)
    assert (fence.closed, timed_out) == (Why.HANDED_OVER, [])


async def test_a_time_limit_outside() -> None:
    """A limit around the block is not mistaken for a close."""
    fence = Fence(lasting_claim())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), fence:
            await asyncio.Event().wait()
    assert fence.closed is None
