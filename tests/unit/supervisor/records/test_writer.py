"""The record writer: what it has confirmed is in the store, and an owner that is none any more learns it."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from supervisor.records import writer as under_test
from supervisor.records.handle import RecordHandle
from supervisor.records.writer import RecordWriter
from tests.support.faulty_store import FaultyStore, Mode
from tests.support.records import NOT_YET, SOON, entry, open_record, running, said

# Writing.


async def test_flush(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A flush is confirmed when the store has all that was new."""
    handle = await open_record(record_writer)
    async with running(record_writer):
        handle.record.state["order"] = "B-1042"
        handle.journal(entry("t1"))
        handle.said(said("i1"))
        assert await handle.flush(SOON)
        kept = store.look("call")
    assert (kept.state, list(kept.journal), kept.transcript) == ({"order": "B-1042"}, ["t1"], [said("i1")])


async def test_written_without_a_flush(store: FaultyStore, record_writer: RecordWriter) -> None:
    """What nobody waits for is written soon by itself."""
    handle = await open_record(record_writer)
    async with running(record_writer):
        handle.said(said("i1"))
        await store.written.wait()
    assert store.look("call").transcript == [said("i1")]


async def test_a_flush_is_written_at_once(
    store: FaultyStore, record_writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody waits for is written at once, and not with the next regular write."""
    monkeypatch.setattr(under_test, "WRITE_BEHIND_SECONDS", 2 * SOON)
    handle = await open_record(record_writer)
    async with running(record_writer):
        handle.journal(entry("t1"))
        assert await handle.flush(SOON)
    assert list(store.look("call").journal) == ["t1"]


async def test_flush_with_nothing_new(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A flush with nothing to write asks the store nothing."""
    handle = await open_record(record_writer)
    async with running(record_writer):
        handle.changed()
        assert await handle.flush(SOON)
        assert await handle.flush(SOON)
    assert len(store.batches) == 1


async def test_flushes_share_a_batch(store: FaultyStore, record_writer: RecordWriter) -> None:
    """500 calls that flush at once cost one batch or two."""
    handles = [await open_record(record_writer, f"call-{n}") for n in range(500)]

    async def use_tool(handle: RecordHandle) -> bool:
        handle.journal(entry("t1"))
        return await handle.flush(SOON)

    async with running(record_writer):
        assert all(await asyncio.gather(*map(use_tool, handles)))
    assert len(store.batches) <= 2


async def test_a_change_during_a_write(store: FaultyStore, record_writer: RecordWriter) -> None:
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


async def test_a_slow_store_and_a_flush(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A slow store delays a flush for no longer than its caller allows; it is written later."""
    handle = await open_record(record_writer)
    store.answering.clear()
    async with running(record_writer):
        handle.journal(entry("t1"))
        assert not await handle.flush(NOT_YET)
        store.answering.set()
        assert await handle.flush(SOON)
    assert list(store.look("call").journal) == ["t1"]


async def test_a_store_that_never_answers(
    store: FaultyStore, record_writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that does not answer in time counts as down."""
    monkeypatch.setattr(under_test, "STORE_SECONDS", NOT_YET)
    handle = await open_record(record_writer)
    store.answering.clear()
    handle.changed()
    with capture_logs() as logs:
        assert not await record_writer._write_batch()
    assert [(line["event"], line["error"]) for line in logs] == [("store_down", "time-out")]


@pytest.mark.parametrize("mode", [Mode.DOWN, Mode.IN_DOUBT])
async def test_written_when_the_store_is_back(mode: Mode, store: FaultyStore, record_writer: RecordWriter) -> None:
    """What could not be written is written once and in order when the store is back.

    A store in doubt may have had it before. That it is down, and that it is back, is each logged once.
    """
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


async def test_a_change_during_a_failing_write(store: FaultyStore, record_writer: RecordWriter) -> None:
    """Race: a tool ends while its start is being written, and the store goes down; the later entry is kept."""
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


async def test_a_store_back_needs_no_change(store: FaultyStore, record_writer: RecordWriter) -> None:
    """What waits is written when the store is back, although nothing more changes."""
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


async def test_the_oldest_words_are_dropped(
    store: FaultyStore, record_writer: RecordWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store is down, the oldest words of all calls together are dropped and counted.

    So one long call does not crowd out the others; the journal is kept whole.
    """
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


async def test_a_cancelled_flush(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A flush that is cancelled does not keep others from theirs."""
    handle = await open_record(record_writer)
    handle.journal(entry("t1"))
    flushes = [asyncio.create_task(handle.flush(SOON)) for _ in range(2)]
    await asyncio.sleep(0)
    flushes[0].cancel()
    async with running(record_writer):
        assert await flushes[1]
    assert flushes[0].cancelled()
    assert list(store.look("call").journal) == ["t1"]


async def test_close_gives_up_in_time(store: FaultyStore, record_writer: RecordWriter) -> None:
    """Closing ends in time although the store is down, and logs which records were not written."""
    handle = await open_record(record_writer)
    handle.changed()
    store.mode = Mode.DOWN
    with capture_logs() as logs:
        await record_writer.close(within_seconds=0.15)
    assert logs[-1] == {"event": "records_not_written", "log_level": "error", "calls": ["call"]}
    assert 1 <= len(store.batches) <= 3  # it tries again, but does not spin
    assert store.closed


# Other owners.


async def test_a_superseded_owner_learns_it(store: FaultyStore, record_writer: RecordWriter) -> None:
    """An owner learns once that another has its record; what it writes then is dropped, and other calls are kept."""
    ours, other = await open_record(record_writer), await open_record(record_writer, "other")
    called: list[str] = []
    ours.on_stale = lambda: called.append("stale")
    await store.open("call", "message")
    for handle in (ours, other):
        handle.journal(entry("t1"))
    with capture_logs() as logs:
        async with running(record_writer):
            assert await other.flush(SOON)
            assert not await ours.flush(SOON)
            ours.changed()
            assert not await ours.flush(SOON)
    assert called == ["stale"]
    assert [(line["event"], line["dropped_tool_calls"]) for line in logs] == [("record_superseded", ["t1"])]
    assert list(store.look("call").journal) == []
    assert list(store.look("other").journal) == ["t1"]


async def test_the_same_call_opened_twice(store: FaultyStore, record_writer: RecordWriter) -> None:
    """Race: a process opens its call's record again; what was not written the first time is dropped."""
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
