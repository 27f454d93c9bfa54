"""One call's trouble is its own: what is wrong with one record costs neither the process nor another record."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from supervisor.records.store import Change
from supervisor.records.writer import RecordWriter
from tests.support.faulty_store import FaultyStore
from tests.support.records import NOT_YET, SOON, entry, open_record, running


async def test_a_refused_record(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A record that the store refuses holds up no other, and is tried again with its next change."""
    large, small = await open_record(record_writer, "large"), await open_record(record_writer, "small")
    store.refused = {"large"}
    async with running(record_writer):
        for handle in (large, small):
            handle.journal(entry("t1"))
        assert await small.flush(SOON)
        assert not await large.flush(NOT_YET)
        assert len(store.batches) == 1
        store.refused = set()
        large.journal(entry("t2"))
        assert await large.flush(SOON)
    assert list(store.look("large").journal) == ["t1", "t2"]


async def test_state_that_is_not_json(store: FaultyStore, record_writer: RecordWriter) -> None:
    """What is not JSON in an agent's state is left out and logged once, and all else is written.

    It is a mistake of the agent's, and must end neither its call nor the process with all its calls.
    """
    wrong, right = await open_record(record_writer, "wrong"), await open_record(record_writer, "right")
    loop: dict[str, object] = {}
    loop["itself"] = loop
    mistakes: dict[str, object] = {"lock": object(), "loop": loop, "half an emoji": "\ud83d"}
    wrong.record.state.update({"name": "Ada", **mistakes})
    with capture_logs() as logs:
        async with running(record_writer):
            for handle in (wrong, right):
                handle.journal(entry("t1"))
            assert await right.flush(SOON)
            assert await wrong.flush(SOON)
            assert store.look("wrong").state == {"name": "Ada"}
            assert set(wrong.record.state) == {"name", *mistakes}, "the agent still has it"
            wrong.changed()
            assert await wrong.flush(SOON)
            for key in mistakes:
                wrong.record.state[key] = "mended"
            wrong.changed()
            assert await wrong.flush(SOON)
            assert store.look("wrong").state["lock"] == "mended"
    assert [(line["event"], line["call_id"], line["keys"]) for line in logs] == [
        ("state_not_json", "wrong", sorted(mistakes))
    ]
    assert list(store.look("wrong").journal) == ["t1"]


async def test_state_that_json_changes(
    record_writer: RecordWriter,
) -> None:
    """What JSON makes something else of, such as a date, is logged when the call is let go.

    An agent works with it until the first deploy, when the next owner gets what JSON made of it.
    """
    handle = await open_record(record_writer)
    plain = {"text": "Ada", "number": 1.5, "large": 2**70, "list": [{"a": None}], "yes": True}
    handle.record.state.update(plain)
    changing: dict[Any, object] = {
        "set": {1},
        "tuple": [(1, 2)],
        "date": datetime.now(UTC),
        "price": {"eur": Decimal("1.5")},
        "not a number": float("nan"),
        "keys": {1: "one"},
        1: "one",
    }
    handle.record.state.update(changing)
    handle.record.state["lock"] = object()
    with capture_logs() as logs:
        handle.changed()
        assert await record_writer._write_batch()
        handle.forget()
    assert [(line["event"], line["call_id"], line["keys"]) for line in logs] == [
        ("state_not_json", "call", ["lock"]),
        ("state_changes_in_json", "call", sorted(map(str, changing))),
    ]


async def test_state_that_is_plain_json(record_writer: RecordWriter) -> None:
    """A state that is plain JSON is not mentioned in the log."""
    handle = await open_record(record_writer)
    handle.record.state.update({"order": "B-1042", "steps": [1, 2.5, None, {"done": True}]})
    with capture_logs() as logs:
        handle.forget()
    assert logs == []


async def test_an_unreadable_record(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A call whose record can't be read is served, and holds up no other.

    Such a record may come from a later version, before it was rolled back.
    """
    store.unreadable = {"later"}
    later, known = await open_record(record_writer, "later"), await open_record(record_writer, "known")
    later.on_stale = lambda: pytest.fail("nobody else has the call")
    assert later.provisional
    async with running(record_writer):
        for handle in (later, known):
            handle.changed()
        assert await known.flush(SOON)
        assert not await later.flush(NOT_YET)


async def test_an_unknown_error_on_write(store: FaultyStore, record_writer: RecordWriter) -> None:
    """An unexpected error about one change costs that record alone; it is logged, and tried again later."""
    odd, well = await open_record(record_writer, "odd"), await open_record(record_writer, "well")
    store.odd = {"odd"}
    with capture_logs() as logs:
        async with running(record_writer):
            for handle in (odd, well):
                handle.journal(entry("t1"))
            assert await well.flush(SOON)
            assert not await odd.flush(NOT_YET)
            store.odd = set()
            odd.journal(entry("t2"))
            assert await odd.flush(SOON)
    assert [(line["event"], line["call_id"]) for line in logs] == [("record_refused", "odd")]
    assert list(store.look("odd").journal) == ["t1", "t2"]


async def test_a_record_that_is_odd_itself(
    store: FaultyStore, record_writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that can't be made into a change costs itself alone."""
    odd, well = await open_record(record_writer, "odd"), await open_record(record_writer, "well")
    change_of = Change.of
    monkeypatch.setattr(
        Change, "of", lambda record, *parts: 1 / 0 if record.call_id == "odd" else change_of(record, *parts)
    )
    with capture_logs() as logs:
        async with running(record_writer):
            for handle in (well, odd, well):
                handle.journal(entry("t1"))
            assert await well.flush(SOON)
            assert not await odd.flush(NOT_YET)
    assert [(line["event"], line["call_id"]) for line in logs] == [("record_refused", "odd")]
    assert list(store.look("well").journal) == ["t1"]


async def test_an_unknown_error_on_open(store: FaultyStore, record_writer: RecordWriter) -> None:
    """An unexpected error while a record is opened: the call is served without it, and it is tried again."""
    store.odd = {"odd"}
    odd, well = await open_record(record_writer, "odd"), await open_record(record_writer, "well")
    assert odd.provisional
    with capture_logs() as logs:
        async with running(record_writer):
            for handle in (odd, well):
                handle.changed()
            assert await well.flush(SOON)
            assert not await odd.flush(NOT_YET)
            store.odd = set()
            odd.changed()
            assert await odd.flush(SOON)
    assert [(line["event"], line["call_id"]) for line in logs] == [("record_unreadable", "odd")]
