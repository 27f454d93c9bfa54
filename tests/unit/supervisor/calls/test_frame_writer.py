"""The one writer of a call: batches whole and in order, and nothing once the call is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from sideband import Agent
from supervisor.agents.call import Call
from supervisor.calls.call_control import AttachedCallControl
from supervisor.calls.fence import Fence, Why
from supervisor.calls.frame_writer import FrameWriter
from supervisor.conversation.actions import Send
from supervisor.errors import SidebandClosed
from supervisor.records.writer import RecordWriter
from tests.support.call_context import Frames, call_context, lasting_claim
from tests.support.faulty_store import FaultyStore

SOON = 5.0


def batch(*names: str) -> list[Send]:
    return [Send({"type": name}) for name in names]


def types(frames: Frames) -> list[str]:
    return [frame["type"] for frame in frames.sent]


def writer_to(frames: Frames, fence: Fence | None = None) -> FrameWriter:
    writer = FrameWriter(fence or Fence(lasting_claim()))
    writer.attach(frames.as_sideband())
    return writer


async def test_two_writers_take_turns() -> None:
    """No frame of one batch gets between those of another, and the batch that was decided first leaves first."""
    writer = writer_to(frames := Frames())
    batches = batch("a1", "a2", "a3"), batch("b1", "b2"), batch("c")
    await asyncio.gather(*(writer.write(one) for one in batches))
    assert types(frames) == ["a1", "a2", "a3", "b1", "b2", "c"]


async def test_a_slow_batch_is_not_overtaken() -> None:
    """What is decided while a frame waits for the network leaves after it."""
    writer = writer_to(frames := Frames())
    frames.may_send.clear()
    slow = asyncio.create_task(writer.write(batch("a1", "a2")))
    await asyncio.sleep(0)
    later = asyncio.create_task(writer.write(batch("b")))
    await asyncio.sleep(0)
    frames.may_send.set()
    await asyncio.wait_for(asyncio.gather(slow, later), SOON)
    assert types(frames) == ["a1", "a2", "b"]


async def test_a_cancelled_batch_holds_up_no_other() -> None:
    """Such as that of a tool that took too long."""
    writer = writer_to(frames := Frames())
    frames.may_send.clear()
    cancelled = asyncio.create_task(writer.write(batch("a1", "a2")))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    frames.may_send.set()
    await asyncio.wait_for(writer.write(batch("b")), SOON)
    assert types(frames) == ["b"]


async def test_a_fence_closed_between_frames() -> None:
    """Another owner has the record: the rest of the batch is left out, and so is every later one."""
    async with Fence(lasting_claim()) as fence:
        frames = Frames(on_send=lambda _frame: fence.close(Why.SUPERSEDED))
        writer = writer_to(frames, fence=fence)
        writing = asyncio.create_task(writer.write(batch("a1", "a2")))
        await asyncio.Event().wait()
    await asyncio.wait_for(writing, SOON)
    await writer.write(batch("b"))
    assert types(frames) == ["a1"]


async def test_a_claim_lost_between_frames() -> None:
    """Pub/Sub may have given the call to another by now; what happens in a lapse is in `test_frame_writer_lapse`."""
    claim = lasting_claim()

    def end(_frame: Mapping[str, Any]) -> None:
        claim.lost = True

    writer = writer_to(frames := Frames(on_send=end), Fence(claim))
    await writer.write(batch("a1", "a2"))
    await writer.write(batch("b"))
    assert types(frames) == ["a1"]


async def test_nothing_is_attached() -> None:
    """What is decided then is left out: the next attach asks what is missing."""
    writer = FrameWriter(Fence(lasting_claim()))
    await writer.write(batch("a"))
    writer.attach((frames := Frames()).as_sideband())
    await writer.write(batch("b"))
    assert types(frames) == ["b"]


async def test_a_batch_is_for_one_sideband() -> None:
    """A batch that waited while its sideband was lost is not the first thing that the next one says."""
    writer = writer_to(lost := Frames())
    lost.may_send.clear()
    stuck = asyncio.create_task(writer.write(batch("a1", "a2")))
    waiting = asyncio.create_task(writer.write(batch("b")))
    await asyncio.sleep(0)
    writer.detach()
    writer.attach((frames := Frames()).as_sideband())
    configuring = asyncio.create_task(writer.write(batch("session.update")))
    await asyncio.sleep(0)
    lost.may_send.set()
    await asyncio.wait_for(asyncio.gather(stuck, waiting, configuring), SOON)
    assert lost.aborted
    assert (types(lost), types(frames)) == (["a1"], ["session.update"])


@pytest.mark.parametrize(
    ("error", "event"),
    [(TypeError("not JSON"), "event_not_json"), (SidebandClosed(1006), "not_written")],
    ids=["not JSON", "closed"],
)
async def test_a_frame_that_fails_is_logged(error: Exception, event: str) -> None:
    """It ends neither the batch nor whoever writes."""

    def fail(frame: Mapping[str, Any]) -> None:
        if frame["type"] == "a1":
            raise error

    writer = writer_to(frames := Frames(on_send=fail))
    with capture_logs() as lines:
        await writer.write(batch("a1", "a2"))
    assert types(frames) == ["a2"]
    assert [line["event"] for line in lines] == [event]


WRITES: dict[str, Callable[[Call], Awaitable[None]]] = {
    "send": lambda call: call.send({"type": "x"}),
    "update": lambda call: call.update({"instructions": "Speak Dutch."}),
    "say": lambda call: call.say("Hello."),
    "interrupt": lambda call: call.interrupt(),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("ours", [True, False])
async def test_no_write_goes_round_it(write: Callable[[Call], Awaitable[None]], ours: bool) -> None:
    """Whatever an agent has its call do waits for its turn, and is left out once the call is not ours."""
    handle = await RecordWriter(FaultyStore()).open("call", "message", within_seconds=SOON)
    context = call_context(Agent(session={"model": "gpt-realtime-2.1"}), handle, frames := Frames())
    context.conversation.playing = True  # else there is nothing to interrupt
    call = Call(context.notice, AttachedCallControl(context))
    frames.may_send.clear()
    first = asyncio.create_task(context.writer.write(batch("first")))
    await asyncio.sleep(0)
    second = asyncio.create_task(_written(write, call))
    await asyncio.sleep(0)
    context.claim.lost = not ours
    frames.may_send.set()
    await asyncio.wait_for(asyncio.gather(first, second), SOON)
    assert types(frames)[0] == "first"
    assert len(frames.sent) == (2 if ours else 1)


async def _written(write: Callable[[Call], Awaitable[None]], call: Call) -> None:
    await write(call)
