"""The record_writer: what it has confirmed is in the store, whatever fails, and no call waits for another's trouble."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from supervisor.outcomes import EndReason
from supervisor.records import writer as under_test
from supervisor.records.handle import RecordHandle
from supervisor.records.record import ENTRY, JournalEntry, Segment
from supervisor.records.store import Change, StoreError, gather_all
from supervisor.records.writer import RecordWriter
from tests.support.faulty_store import FaultyStore, Mode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SOON = 5.0
NOT_YET = 0.02


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "WRITE_BEHIND_SECONDS", 0.01)
    monkeypatch.setattr(under_test, "RETRY_SECONDS", 0.01)


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def record_writer(store: FaultyStore) -> RecordWriter:
    return RecordWriter(store)


@asynccontextmanager
async def running(record_writer: RecordWriter) -> AsyncIterator[None]:
    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        writing = group.create_task(record_writer.run(), name="write records")
        yield
        writing.cancel()


async def open_record(record_writer: RecordWriter, call_id: str = "call", message_id: str = "message") -> RecordHandle:
    return await record_writer.open(call_id, message_id, within_seconds=SOON)


def entry(tool_call_id: str, **more: str) -> JournalEntry:
    return ENTRY.validate_python({"tool_call_id": tool_call_id, "name": "pay", "arguments": "{}", **more})


def said(item_id: str, at: float = 0.0) -> Segment:
    return Segment(item_id=item_id, role="agent", text="Hello", at=at)


# Writing.


async def test_a_flush_is_confirmed_when_the_store_has_it(store: FaultyStore, record_writer: RecordWriter) -> None:
    handle = await open_record(record_writer)
    async with running(record_writer):
        handle.record.state["order"] = "B-1042"
        handle.journal(entry("t1"))
        handle.said(said("i1"))
        assert await handle.flush(SOON)
        kept = store.look("call")
    assert (kept.state, list(kept.journal), kept.transcript) == ({"order": "B-1042"}, ["t1"], [said("i1")])


async def test_what_nobody_waits_for_is_written_by_itself(store: FaultyStore, record_writer: RecordWriter) -> None:
    handle = await open_record(record_writer)
    async with running(record_writer):
        handle.said(said("i1"))
        await store.written.wait()
    assert store.look("call").transcript == [said("i1")]


async def test_what_somebody_waits_for_is_written_at_once(
    store: FaultyStore, record_writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "WRITE_BEHIND_SECONDS", 2 * SOON)
    handle = await open_record(record_writer)
    async with running(record_writer):
        handle.journal(entry("t1"))
        assert await handle.flush(SOON)
    assert list(store.look("call").journal) == ["t1"]


async def test_with_nothing_to_write_a_flush_asks_nothing(store: FaultyStore, record_writer: RecordWriter) -> None:
    handle = await open_record(record_writer)
    async with running(record_writer):
        handle.changed()
        assert await handle.flush(SOON)
        assert await handle.flush(SOON)
    assert len(store.batches) == 1


async def test_500_calls_that_flush_at_once_cost_a_batch_or_two(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    handles = [await open_record(record_writer, f"call-{n}") for n in range(500)]

    async def use_tool(handle: RecordHandle) -> bool:
        handle.journal(entry("t1"))
        return await handle.flush(SOON)

    async with running(record_writer):
        assert all(await asyncio.gather(*map(use_tool, handles)))
    assert len(store.batches) <= 2


async def test_what_changes_during_a_write_goes_with_the_next(store: FaultyStore, record_writer: RecordWriter) -> None:
    """Race: the flush of a change waits for the batch that has it, not for the one that is under way."""
    handle = await open_record(record_writer)
    store.asked.clear()
    store.answering.clear()
    async with running(record_writer):
        handle.journal(entry("t1"))
        first = asyncio.create_task(handle.flush(SOON))
        await store.asked.wait()
        handle.journal(entry("t2"))
        second = asyncio.create_task(handle.flush(SOON))
        await asyncio.sleep(0)  # so that it waits
        store.answering.set()
        await store.written.wait()
        store.answering.clear()
        assert await first
        assert list(store.look("call").journal) == ["t1"]
        assert not second.done()
        store.answering.set()
        assert await second
        assert list(store.look("call").journal) == ["t1", "t2"]


# A store that is slow or down.


async def test_a_slow_store_delays_a_flush_no_longer_than_it_may(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    handle = await open_record(record_writer)
    store.answering.clear()
    async with running(record_writer):
        handle.journal(entry("t1"))
        assert not await handle.flush(NOT_YET)
        store.answering.set()
        assert await handle.flush(SOON)
    assert list(store.look("call").journal) == ["t1"]


async def test_a_store_that_never_answers_counts_as_down(
    store: FaultyStore, record_writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "STORE_SECONDS", NOT_YET)
    handle = await open_record(record_writer)
    store.answering.clear()
    handle.changed()
    with capture_logs() as logs:
        assert not await record_writer._write_batch()
    assert [(line["event"], line["error"]) for line in logs] == [("store_down", "time-out")]


@pytest.mark.parametrize("mode", [Mode.DOWN, Mode.IN_DOUBT])
async def test_what_could_not_be_written_is_written_when_the_store_is_back(
    mode: Mode, store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Once, though a store in doubt may have had it before, and in order; and both turns are logged once."""
    handle = await open_record(record_writer)
    store.mode = mode
    with capture_logs() as logs:
        async with running(record_writer):
            for number in range(3):
                handle.journal(entry(f"t{number}"))
                handle.said(said(f"i{number}"))
                assert not await handle.flush(NOT_YET)
            handle.journal(entry("t1", outcome="done"))
            store.mode = Mode.WELL
            assert await handle.flush(SOON)
    kept = store.look("call")
    assert list(kept.journal.values()) == [entry("t0"), entry("t1", outcome="done"), entry("t2")]
    assert kept.transcript == [said("i0"), said("i1"), said("i2")]
    assert [line["event"] for line in logs] == ["store_down", "store_back"]


async def test_what_changes_during_a_write_that_fails_is_not_undone(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Race: a tool ends while its start is being written, and the store goes down."""
    handle = await open_record(record_writer)
    store.asked.clear()
    store.answering.clear()
    handle.journal(entry("t1"))
    async with running(record_writer):
        await store.asked.wait()
        handle.journal(entry("t2"))
        handle.journal(entry("t1", outcome="done"))
        store.mode = Mode.DOWN
        store.answering.set()
        assert not await handle.flush(NOT_YET)
        store.mode = Mode.WELL
        assert await handle.flush(SOON)
    assert list(store.look("call").journal.values()) == [entry("t1", outcome="done"), entry("t2")]


async def test_a_store_that_is_back_needs_no_further_change(store: FaultyStore, record_writer: RecordWriter) -> None:
    handle = await open_record(record_writer)
    store.mode = Mode.DOWN
    store.asked.clear()
    async with running(record_writer):
        handle.said(said("i1"))
        await store.asked.wait()
        store.asked.clear()
        await store.asked.wait()
        store.mode = Mode.WELL
        await store.written.wait()
    assert store.look("call").transcript == [said("i1")]


async def test_while_the_store_is_down_the_oldest_words_are_dropped_and_counted(
    store: FaultyStore, record_writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all calls gather_all, so that one long call does not crowd out the others; the journal is kept whole."""
    monkeypatch.setattr(under_test, "MAX_SEGMENTS", 10)
    calls = [await open_record(record_writer, f"call-{n}") for n in range(2)]
    store.mode = Mode.DOWN
    for number in range(16):
        calls[number % 2].said(said(f"i{number}", at=number))
        calls[number % 2].journal(entry(f"t{number}"))
    with capture_logs() as logs:
        assert not await record_writer._write_batch()
    assert [line["pieces"] for line in logs if line["event"] == "transcript_dropped"] == [3, 3]
    store.mode = Mode.WELL
    assert await record_writer._write_batch()
    for parity in range(2):
        kept = store.look(f"call-{parity}")
        assert [segment.item_id for segment in kept.transcript] == [f"i{n}" for n in range(6 + parity, 16, 2)]
        assert (kept.transcript_lost, len(kept.journal)) == (3, 8)


async def test_a_cancelled_write_loses_nothing(store: FaultyStore, record_writer: RecordWriter) -> None:
    """Race: the process stops in the middle of a batch; what was under way goes with the last."""
    handle = await open_record(record_writer)
    store.asked.clear()
    store.answering.clear()
    async with running(record_writer):
        handle.journal(entry("t1"))
        handle.said(said("i1"))
        await store.asked.wait()
        handle.said(said("i2"))
    store.answering.set()
    await record_writer.close(SOON)
    kept = store.look("call")
    assert (list(kept.journal), kept.transcript) == (["t1"], [said("i1"), said("i2")])
    assert store.closed


async def test_a_flush_that_is_cancelled_harms_nobody(store: FaultyStore, record_writer: RecordWriter) -> None:
    handle = await open_record(record_writer)
    handle.journal(entry("t1"))
    flushes = [asyncio.create_task(handle.flush(SOON)) for _ in range(2)]
    await asyncio.sleep(0)
    flushes[0].cancel()
    async with running(record_writer):
        assert await flushes[1]
    assert flushes[0].cancelled()
    assert list(store.look("call").journal) == ["t1"]


async def test_closing_gives_up_in_time_and_says_what_is_lost(store: FaultyStore, record_writer: RecordWriter) -> None:
    handle = await open_record(record_writer)
    handle.changed()
    store.mode = Mode.DOWN
    with capture_logs() as logs:
        await record_writer.close(within_seconds=0.15)
    assert logs[-1] == {"event": "records_not_written", "log_level": "error", "calls": ["call"]}
    assert 1 <= len(store.batches) <= 3  # it tries again, but does not spin
    assert store.closed


# Other owners.


async def test_an_owner_learns_that_it_is_no_longer_one(store: FaultyStore, record_writer: RecordWriter) -> None:
    """Once; what it writes from then on is dropped, and the calls beside it are kept."""
    ours, beside = await open_record(record_writer), await open_record(record_writer, "beside")
    told: list[str] = []
    ours.on_stale = lambda: told.append("stale")
    await store.open("call", "message")
    for handle in (ours, beside):
        handle.journal(entry("t1"))
    with capture_logs() as logs:
        async with running(record_writer):
            assert await beside.flush(SOON)
            assert not await ours.flush(SOON)
            ours.changed()
            assert not await ours.flush(SOON)
    assert told == ["stale"]
    assert [(line["event"], line["dropped_tool_calls"]) for line in logs] == [("record_superseded", ["t1"])]
    assert list(store.look("call").journal) == []
    assert list(store.look("beside").journal) == ["t1"]


async def test_a_process_that_claims_its_call_again_is_not_mistaken_for_its_former_self(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Race: what was not written of the first time goes in one batch with the second."""
    first = await open_record(record_writer)
    first.journal(entry("t1"))
    first.forget()
    second = await open_record(record_writer)
    second.on_stale = lambda: pytest.fail("the present owner was told that it is none")
    second.journal(entry("t2"))
    async with running(record_writer):
        assert await second.flush(SOON)
        assert not await first.flush(SOON)
    assert list(store.look("call").journal) == ["t2"]


# Records that could not be opened when their call was claimed.


async def _provisional(store: FaultyStore, record_writer: RecordWriter, call_id: str = "call") -> RecordHandle:
    """Give a call that is served though its record could not be opened."""
    store.mode = Mode.DOWN
    handle = await open_record(record_writer, call_id)
    store.mode = Mode.WELL
    assert handle.provisional
    return handle


async def test_a_slow_store_delays_a_claim_no_longer_than_it_may(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    store.answering.clear()
    handle = await record_writer.open("call", "message", within_seconds=NOT_YET)
    assert handle.provisional
    assert handle.record.call_id == "call"


async def test_a_record_is_opened_late_and_joined_with_what_the_store_knew(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    earlier = await open_record(record_writer)
    earlier.record.greeted_at, earlier.record.state = 1.0, {"order": "B-1042", "step": 1}
    earlier.record.tokens, earlier.record.cost_usd, earlier.record.items = 100, 0.5, 7
    earlier.record.session = {"instructions": "Be brief."}
    earlier.journal(entry("t1"))
    assert await record_writer._write_batch()
    later = await _provisional(store, record_writer)
    agents = later.record.state
    agents["step"] = 2
    later.record.attached_at, later.record.tokens, later.record.cost_usd, later.record.items = 2.0, 10, 0.25, 3
    later.journal(entry("t2"))
    async with running(record_writer):
        assert await later.flush(SOON)
    kept = store.look("call")
    assert (kept.epoch, kept.greeted_at, kept.attached_at) == (2, 1.0, 2.0)
    assert kept.state == agents == {"order": "B-1042", "step": 2}
    assert (kept.tokens, kept.cost_usd, kept.items) == (110, 0.75, 7)
    assert kept.session == {"instructions": "Be brief."}
    assert list(kept.journal) == ["t1", "t2"]
    assert not later.provisional


async def test_what_an_earlier_owner_ran_stands_in_a_record_that_is_opened_late(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Not so what may run twice, or had not started: there ours is the later."""
    paid, waiting, asked = entry("paid", outcome="paid"), entry("waiting"), entry("asked", outcome="old")
    paid.started_at = asked.started_at = 1.0
    asked.idempotent = True
    earlier = await open_record(record_writer)
    for left in (paid, waiting, asked):
        earlier.journal(left)
    assert await record_writer._write_batch()
    later = await _provisional(store, record_writer)
    ours = {name: entry(name, outcome="ours") for name in ("paid", "waiting", "asked", "new")}
    ours["asked"].idempotent = True
    for one in ours.values():
        later.journal(one)
    async with running(record_writer):
        assert await later.flush(SOON)
    joined = ours | {"paid": paid}
    assert later.record.journal == store.look("call").journal == joined
    assert all(later.record.journal[name] is ours[name] for name in ("waiting", "asked", "new"))


async def test_late_records_are_opened_all_at_once(store: FaultyStore, record_writer: RecordWriter) -> None:
    """After an outage there may be hundreds, and each takes its time."""
    handles = [await _provisional(store, record_writer, f"call-{n}") for n in range(50)]
    for handle in handles:
        handle.changed()
    async with running(record_writer):
        assert all(await asyncio.gather(*(handle.flush(SOON) for handle in handles)))
    assert store.most_under_way == 50


async def test_a_duplicate_that_was_served_in_the_dark_is_stopped(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Two messages about one call: the store, when it is back, says which of them owns it."""
    ours = await _provisional(store, record_writer)
    await store.open("call", "the other message")
    told: list[str] = []
    ours.on_stale = lambda: told.append("stale")
    ours.changed()
    async with running(record_writer):
        assert not await ours.flush(SOON)
    assert told == ["stale"]
    assert store.look("call").message_id == "the other message"


async def test_an_owner_that_has_let_go_does_not_shut_out_the_next(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Race: both took the call while the store was down or slow, and the next owner was quicker to open the record."""
    former = await _provisional(store, record_writer)
    former.journal(entry("t1"))
    former.forget()
    present = await open_record(RecordWriter(store))
    with capture_logs() as logs:
        async with running(record_writer):
            assert not await former.flush(SOON)
    assert store.look("call").epoch == present.record.epoch == 1
    assert [(line["event"], line["dropped_tool_calls"]) for line in logs] == [("record_superseded", ["t1"])]


async def test_what_an_owner_left_that_had_let_go_before_the_store_came_back_is_kept(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Where no next owner has opened the record yet."""
    former = await _provisional(store, record_writer)
    former.journal(entry("t1"))
    former.forget()
    async with running(record_writer):
        assert await former.flush(SOON)
    assert list(store.look("call").journal) == ["t1"]
    assert (await open_record(record_writer)).record.epoch == 2


async def test_the_end_of_a_call_is_written_late_too(store: FaultyStore, record_writer: RecordWriter) -> None:
    former = await open_record(record_writer)
    former.forget()
    last = await _provisional(store, record_writer)
    last.record.end_reason = EndReason.CALLER_HUNG_UP
    last.changed()
    last.forget()
    async with running(record_writer):
        assert await last.flush(SOON)
    assert store.look("call").end_reason is EndReason.CALLER_HUNG_UP


# One call's trouble is its own.


async def test_a_record_that_is_refused_holds_up_no_other_and_goes_with_its_next_change(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
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


async def test_what_is_not_json_in_a_state_is_named_once_and_holds_up_nothing_else(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """It is a mistake of the agent's, and must end neither its call nor the process with all its calls."""
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


async def test_what_comes_back_from_json_as_something_else_is_named_when_the_call_is_let_go(
    record_writer: RecordWriter,
) -> None:
    """An agent works with it until the first deploy, when it is the next owner's."""
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


async def test_a_state_that_is_plain_json_is_not_mentioned(record_writer: RecordWriter) -> None:
    handle = await open_record(record_writer)
    handle.record.state.update({"order": "B-1042", "steps": [1, 2.5, None, {"done": True}]})
    with capture_logs() as logs:
        handle.forget()
    assert logs == []


async def test_a_call_whose_record_cannot_be_read_is_served_and_holds_up_no_other(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Such as one that a later version wrote, before it was rolled back."""
    store.unreadable = {"later"}
    later, known = await open_record(record_writer, "later"), await open_record(record_writer, "known")
    later.on_stale = lambda: pytest.fail("nobody else has the call")
    assert later.provisional
    async with running(record_writer):
        for handle in (later, known):
            handle.changed()
        assert await known.flush(SOON)
        assert not await later.flush(NOT_YET)


async def test_a_change_about_which_the_store_raises_something_unknown_costs_its_record_alone(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Never the process with all its calls; it is logged, and goes with the call's next change."""
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


async def test_what_is_odd_in_a_record_itself_costs_that_record_alone(
    store: FaultyStore, record_writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
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


async def test_a_call_about_whose_claim_the_store_raises_something_unknown_is_served_without_its_record(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
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


async def test_a_record_that_can_not_be_opened_holds_up_no_other(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Whether the store fails about it or hangs; it is tried again, though not in a hot loop."""
    store.unopenable = {"stuck"}
    stuck, well = await open_record(record_writer, "stuck"), await open_record(record_writer, "well")
    with capture_logs() as logs:
        async with running(record_writer):
            for number in range(5):
                stuck.journal(entry(f"t{number}"))
                well.journal(entry(f"t{number}"))
                assert await well.flush(SOON)
            assert not await stuck.flush(NOT_YET)
            assert 2 <= store.opened.count("stuck") <= 10
            store.unopenable = set()
            assert await stuck.flush(SOON)
    assert logs == [], "the store is not down"
    assert len(store.look("stuck").journal) == len(store.look("well").journal) == 5


async def test_a_record_whose_opening_hangs_holds_up_no_other(store: FaultyStore, record_writer: RecordWriter) -> None:
    slow, well = await _provisional(store, record_writer, "slow"), await open_record(record_writer, "well")
    store.hanging = {"slow"}
    async with running(record_writer):
        slow.changed()
        await store.asked.wait()
        for number in range(3):
            well.journal(entry(f"t{number}"))
            assert await well.flush(SOON)
        assert slow.provisional


async def test_a_store_that_is_down_from_the_start_is_told_of_once(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    """Where there is nothing but records that can't be opened."""
    handles = [await _provisional(store, record_writer, f"call-{n}") for n in range(3)]
    store.mode = Mode.DOWN
    with capture_logs() as logs:
        async with running(record_writer):
            for handle in handles:
                handle.changed()
            assert not await handles[0].flush(NOT_YET)
            store.mode = Mode.WELL
            for handle in handles:
                assert await handle.flush(SOON)
    assert [line["event"] for line in logs] == ["store_down", "store_back"]


async def test_what_can_still_not_be_opened_when_the_process_ends_holds_up_no_other(
    store: FaultyStore, record_writer: RecordWriter
) -> None:
    store.unopenable = {"stuck"}
    for call_id in ("stuck", "well"):
        (await open_record(record_writer, call_id)).journal(entry("t1"))
    late = await _provisional(store, record_writer, "late")
    late.journal(entry("t1"))
    with capture_logs() as logs:
        await record_writer.close(within_seconds=0.15)
    assert logs[-1] == {"event": "records_not_written", "log_level": "error", "calls": ["stuck"]}
    assert [list(store.look(call_id).journal) for call_id in ("well", "late")] == [["t1"], ["t1"]]


async def test_a_failure_is_told_when_all_that_was_done_beside_it_has_ended() -> None:
    """So that nothing is under way that nobody waits for."""
    ended: list[str] = []

    async def fail() -> None:
        raise StoreError("down")

    async def end() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        ended.append("end")

    with pytest.raises(StoreError, match="down"):
        await gather_all([end(), fail(), end()])
    assert ended == ["end", "end"]
