"""One call's record as its owner has it: queued, merged late, given up, let go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from supervisor.outcomes import EndReason
from supervisor.records.handle import RecordHandle
from supervisor.records.record import CallRecord
from tests.support.records import NOT_YET, entry, said


class Queue:
    """Stands in for the record writer: notes what it is asked, and writes nothing."""

    def __init__(self) -> None:
        self.enqueued: list[str] = []
        self.hurried = 0

    def enqueue(self, handle: RecordHandle) -> None:
        self.enqueued.append(handle.record.call_id)

    def hurry(self) -> None:
        self.hurried += 1


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def handle(queue: Queue) -> RecordHandle:
    return RecordHandle(CallRecord(call_id="call", message_id="message"), provisional=True, _writer=queue)


def write(handle: RecordHandle) -> None:
    """Do what the writer does when the store has taken all that is queued."""
    handle.unwritten.finish(handle.unwritten.take(handle.record).up_to)


def test_every_change_is_queued(handle: RecordHandle, queue: Queue) -> None:
    """A change of the head, of the journal and of the transcript is queued each."""
    handle.changed()
    handle.journal(entry("t1"))
    handle.said(said("i1"))
    assert queue.enqueued == ["call"] * 3
    portion = handle.unwritten.take(handle.record)
    assert (list(portion.entries), portion.segments, portion.up_to) == (["t1"], [said("i1")], 3)


async def test_a_flush_hurries(handle: RecordHandle, queue: Queue) -> None:
    """A flush has the queue written at once, and says whether it was in time; with nothing new it asks nothing."""
    handle.changed()
    assert not await handle.flush(NOT_YET)
    assert queue.hurried == 1
    write(handle)
    assert await handle.flush(NOT_YET)
    assert queue.hurried == 1


def test_a_late_record_is_merged(handle: RecordHandle) -> None:
    """A record that is opened late gets what the store knows; its owner is told, once it is there."""
    learnt: list[float | None] = []
    handle.on_merged = lambda: learnt.append(handle.record.greeted_at)
    handle.record.state["step"] = 2
    assert handle.merge(CallRecord(call_id="call", message_id="message", epoch=4, greeted_at=1.0, state={"order": 7}))
    assert not handle.provisional
    assert (handle.record.epoch, handle.record.state, learnt) == (4, {"step": 2, "order": 7}, [1.0])


def test_replaced_entries_are_not_written(handle: RecordHandle) -> None:
    """Where an earlier owner ran a tool, ours is neither in the record nor written."""
    stored = replace(entry("t1", outcome="paid"), started_at=1.0)
    handle.journal(entry("t1"))
    handle.journal(entry("t2"))
    handle.merge(CallRecord(call_id="call", message_id="message", journal={"t1": stored}))
    assert list(handle.unwritten.take(handle.record).entries) == ["t2"]


@pytest.mark.parametrize(
    "stored",
    [
        CallRecord(call_id="call", message_id="another"),
        CallRecord(call_id="call", message_id="message", end_reason=EndReason.MISSED),
    ],
    ids=["another message", "ended"],
)
def test_a_call_that_is_not_ours(handle: RecordHandle, stored: CallRecord) -> None:
    """A record that another message owns, or that has ended, is not merged, and its owner not told of it."""
    handle.on_merged = lambda: pytest.fail("it is not ours")
    assert not handle.merge(stored)
    assert handle.record.message_id == "message"


async def test_a_superseded_owner(handle: RecordHandle, queue: Queue) -> None:
    """An owner that was superseded is told; whoever waits is woken, and nothing more is queued."""
    called: list[str] = []
    handle.on_stale = lambda: called.append("stale")
    handle.changed()
    handle.supersede()
    assert called == ["stale"]
    assert not await handle.flush(NOT_YET)
    handle.changed()
    assert queue.enqueued == ["call"]


def test_confirmed_entries_are_dropped(handle: RecordHandle) -> None:
    """Entries that are confirmed and stored leave memory; those that are not yet written stay."""
    confirmed, waiting, unwritten = entry("t1"), entry("t2"), entry("t3")
    for one in (confirmed, waiting):
        handle.journal(one)
    write(handle)
    handle.journal(unwritten)
    confirmed.confirmed = unwritten.confirmed = True
    handle.drop_confirmed([confirmed, waiting, unwritten])
    assert list(handle.record.journal) == ["t2", "t3"]


def test_a_forgotten_record(handle: RecordHandle) -> None:
    """An owner that has let go hears of nothing more; what JSON made of its state is logged by its keys."""
    handle.on_stale = handle.on_merged = lambda: pytest.fail("it has let go")
    handle.record.state["when"] = (2026, 11)
    with capture_logs() as lines:
        handle.forget()
    assert [(line["event"], line["keys"]) for line in lines] == [("state_changes_in_json", ["when"])]
    assert handle.merge(CallRecord(call_id="call", message_id="message"))
    handle.supersede()
