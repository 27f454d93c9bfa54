"""What the store does not have yet of a record: taken in portions, put back, and waited for."""

from __future__ import annotations

import json

from structlog.testing import capture_logs

from supervisor.records.record import CallRecord
from supervisor.records.unwritten import Unwritten
from tests.support.records import entry, said

RECORD = CallRecord(call_id="call", message_id="message")


def queued(*tool_call_ids: str, segments: int = 0) -> Unwritten:
    unwritten = Unwritten(segments=[said(f"i{number}", at=number) for number in range(segments)])
    for tool_call_id in tool_call_ids:
        unwritten.entries[tool_call_id] = entry(tool_call_id)
        unwritten.changes += 1
    return unwritten


def test_take_empties_the_queue() -> None:
    """What was taken is not taken twice, and counts as unwritten until it is finished."""
    unwritten = queued("t1", "t2", segments=2)
    portion = unwritten.take(RECORD)
    assert (list(portion.change.journal), list(portion.change.segments)) == (["t1", "t2"], ["i0", "i1"])
    assert (unwritten.entries, unwritten.segments, unwritten.empty) == ({}, [], False)
    unwritten.finish(portion.up_to)
    assert unwritten.empty


def test_put_back_keeps_what_is_newer() -> None:
    """A portion that was not written goes before what came since; of an entry, the later state stays."""
    unwritten = queued("t1", "t2", segments=1)
    portion = unwritten.take(RECORD)
    unwritten.entries = {"t1": entry("t1", outcome="paid"), "t3": entry("t3")}
    unwritten.segments = [said("i9")]
    unwritten.put_back(portion)
    assert list(unwritten.entries) == ["t1", "t2", "t3"]
    assert unwritten.entries["t1"].outcome == "paid"
    assert [segment.item_id for segment in unwritten.segments] == ["i0", "i9"]


async def test_those_who_wait_are_woken() -> None:
    """Who waits is woken when all changes until then are written, and not sooner."""
    unwritten = queued("t1")
    first = unwritten.when_written()
    unwritten.changes += 1
    second = unwritten.when_written()
    unwritten.finish(1)
    assert (first.done(), second.done()) == (True, False)
    unwritten.finish(2)
    assert second.done()


async def test_who_no_longer_waits_is_left_alone() -> None:
    """Somebody who was cancelled while they waited holds up nobody."""
    unwritten = queued("t1")
    gone, waiting = unwritten.when_written(), unwritten.when_written()
    gone.cancel()
    unwritten.finish(1)
    assert waiting.done()


def test_wrong_state_is_left_out() -> None:
    """State that is not JSON is left out, and each of its keys logged once."""
    wrong = CallRecord(call_id="call", message_id="message", state={"lock": object(), "name": "Ada"})
    unwritten = Unwritten()
    with capture_logs() as lines:
        heads = [json.loads(unwritten.take(wrong).change.head) for _ in range(2)]
        wrong.state["loop"] = object()
        unwritten.take(wrong)
    assert [head["state"] for head in heads] == [{"name": "Ada"}] * 2
    assert [line["keys"] for line in lines] == [["lock"], ["lock", "loop"]]


def test_drop_segments() -> None:
    """Segments up to a time are dropped, and counted."""
    unwritten = queued(segments=5)
    assert unwritten.drop_segments(2) == 3
    assert [segment.item_id for segment in unwritten.segments] == ["i3", "i4"]
    assert unwritten.drop_segments(2) == 0


def test_keep_only() -> None:
    """Entries that the journal has replaced by others are not written; those it does not have are."""
    unwritten = queued("t1", "t2", "t3")
    unwritten.keep_only({"t1": entry("t1"), "t2": unwritten.entries["t2"]})
    assert list(unwritten.entries) == ["t2", "t3"]
