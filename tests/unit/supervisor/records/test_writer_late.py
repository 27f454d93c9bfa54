"""Records that could not be opened when their call was claimed, and are opened later."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from supervisor.outcomes import EndReason
from supervisor.records.writer import RecordWriter
from tests.support.faulty_store import FaultyStore, Mode
from tests.support.records import NOT_YET, SOON, entry, open_late, open_record, running


async def test_a_slow_store_and_a_claim(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A slow store delays a claim for no longer than allowed; then the record is provisional."""
    store.answering.clear()
    handle = await record_writer.open("call", "message", within_seconds=NOT_YET)
    assert handle.provisional
    assert handle.record.call_id == "call"


async def test_merged_with_what_was_stored(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A record that is opened late is merged with what the store knew."""
    earlier = await open_record(record_writer)
    earlier.record.greeted_at, earlier.record.state = 1.0, {"order": "B-1042", "step": 1}
    earlier.record.tokens, earlier.record.cost_usd, earlier.record.items = 100, 0.5, 7
    earlier.record.session = {"instructions": "Be brief."}
    earlier.journal(entry("t1"))
    assert await record_writer._write_batch()
    later = await open_late(store, record_writer)
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


async def test_an_earlier_owners_entries_stand(store: FaultyStore, record_writer: RecordWriter) -> None:
    """What an earlier owner ran stands in a record that is opened late.

    Not so what may run twice, or had not started: there ours is the later.
    """
    paid, waiting, asked = entry("paid", outcome="paid"), entry("waiting"), entry("asked", outcome="old")
    paid.started_at = asked.started_at = 1.0
    asked.idempotent = True
    earlier = await open_record(record_writer)
    for left in (paid, waiting, asked):
        earlier.journal(left)
    assert await record_writer._write_batch()
    later = await open_late(store, record_writer)
    ours = {name: entry(name, outcome="ours") for name in ("paid", "waiting", "asked", "new")}
    ours["asked"].idempotent = True
    for one in ours.values():
        later.journal(one)
    async with running(record_writer):
        assert await later.flush(SOON)
    joined = ours | {"paid": paid}
    assert later.record.journal == store.look("call").journal == joined
    assert all(later.record.journal[name] is ours[name] for name in ("waiting", "asked", "new"))


async def test_late_records_open_all_at_once(store: FaultyStore, record_writer: RecordWriter) -> None:
    """Late records are opened all at once: after an outage there may be hundreds, and each takes its time."""
    handles = [await open_late(store, record_writer, f"call-{n}") for n in range(50)]
    for handle in handles:
        handle.changed()
    async with running(record_writer):
        assert all(await asyncio.gather(*(handle.flush(SOON) for handle in handles)))
    assert store.most_under_way == 50


async def test_a_duplicate_is_stopped_late(store: FaultyStore, record_writer: RecordWriter) -> None:
    """Two messages about one call: the store, when it is back, says which of them owns it."""
    ours = await open_late(store, record_writer)
    await store.open("call", "the other message")
    called: list[str] = []
    ours.on_stale = lambda: called.append("stale")
    ours.changed()
    async with running(record_writer):
        assert not await ours.flush(SOON)
    assert called == ["stale"]
    assert store.look("call").message_id == "the other message"


async def test_a_former_owner_opens_nothing(store: FaultyStore, record_writer: RecordWriter) -> None:
    """Race: both opened the call's record late, the next owner first; the former owner does not shut it out."""
    former = await open_late(store, record_writer)
    former.journal(entry("t1"))
    former.forget()
    present = await open_record(RecordWriter(store))
    with capture_logs() as logs:
        async with running(record_writer):
            assert not await former.flush(SOON)
    assert store.look("call").epoch == present.record.epoch == 1
    assert [(line["event"], line["dropped_tool_calls"]) for line in logs] == [("record_superseded", ["t1"])]


async def test_a_former_owners_changes_are_kept(store: FaultyStore, record_writer: RecordWriter) -> None:
    """What an owner left that let go while the store was down is kept, if no next owner was quicker."""
    former = await open_late(store, record_writer)
    former.journal(entry("t1"))
    former.forget()
    async with running(record_writer):
        assert await former.flush(SOON)
    assert list(store.look("call").journal) == ["t1"]
    assert (await open_record(record_writer)).record.epoch == 2


async def test_the_end_is_written_late(store: FaultyStore, record_writer: RecordWriter) -> None:
    """The end of a call is written late too."""
    former = await open_record(record_writer)
    former.forget()
    last = await open_late(store, record_writer)
    last.record.end_reason = EndReason.CALLER_HUNG_UP
    last.changed()
    last.forget()
    async with running(record_writer):
        assert await last.flush(SOON)
    assert store.look("call").end_reason is EndReason.CALLER_HUNG_UP


async def test_an_unopenable_record(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A record that can't be opened holds up no other; it is tried again, though not in a hot loop."""
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


async def test_an_opening_that_hangs(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A record whose opening hangs holds up no other."""
    slow, well = await open_late(store, record_writer, "slow"), await open_record(record_writer, "well")
    store.hanging = {"slow"}
    async with running(record_writer):
        slow.changed()
        await store.asked.wait()
        for number in range(3):
            well.journal(entry(f"t{number}"))
            assert await well.flush(SOON)
        assert slow.provisional


async def test_a_store_down_from_the_start(store: FaultyStore, record_writer: RecordWriter) -> None:
    """A store that is down from the start is logged once, although no record could be opened yet."""
    handles = [await open_late(store, record_writer, f"call-{n}") for n in range(3)]
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


async def test_unopenable_at_the_end(store: FaultyStore, record_writer: RecordWriter) -> None:
    """When the process ends, a record that still can't be opened is logged, and holds up no other."""
    store.unopenable = {"stuck"}
    for call_id in ("stuck", "well"):
        (await open_record(record_writer, call_id)).journal(entry("t1"))
    late = await open_late(store, record_writer, "late")
    late.journal(entry("t1"))
    with capture_logs() as logs:
        await record_writer.close(within_seconds=0.15)
    assert logs[-1] == {"event": "records_not_written", "log_level": "error", "calls": ["stuck"]}
    assert [list(store.look(call_id).journal) for call_id in ("well", "late")] == [["t1"], ["t1"]]
