"""What a store of records promises, held against both: SQLite in a file, Firestore in Google's emulator."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from supervisor.outcomes import EndReason
from supervisor.records.opening import open_store
from supervisor.records.record import ENTRY, CallRecord, JournalEntry, Segment
from supervisor.records.store import Change, Store, StoreError, WriteResult
from supervisor.records.writer import RecordWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WRITES = 20
MOST_SECONDS = 20.0


@dataclass
class Place:
    """Where records are kept: connect to it as often as there are processes that share it."""

    url: str
    project: str = "unused"
    stores: list[Store] = field(default_factory=list)

    def connect(self) -> Store:
        self.stores.append(open_store(self.url, project=self.project))
        return self.stores[-1]

    async def close(self) -> None:
        for store in self.stores:
            await store.close()


@pytest.fixture(params=["sqlite", pytest.param("firestore", marks=pytest.mark.google)])
def _place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(f"sqlite:{tmp_path / 'records.sqlite'}")
    return Place("firestore:", request.getfixturevalue("firestore_project"))


@pytest.fixture
async def place(_place: Place) -> AsyncIterator[Place]:
    """Give each kind of place in turn."""
    yield _place
    await _place.close()


@pytest.fixture
def store(place: Place) -> Store:
    return place.connect()


def entry(tool_call_id: str, **more: str | float | bool) -> JournalEntry:
    return ENTRY.validate_python({"tool_call_id": tool_call_id, "name": "pay", "arguments": "{}", **more})


def segment(item_id: str, text: str = "Hello") -> Segment:
    return Segment(item_id=item_id, role="agent", text=text, at=1.0)


async def read(store: Store, call_id: str) -> CallRecord:
    record = await store.read(call_id)
    assert record is not None
    return record


# Opening.


async def test_the_first_claim_makes_a_record_of_epoch_1(store: Store) -> None:
    assert await store.open("call", "message") == CallRecord(call_id="call", message_id="message", epoch=1)
    assert (await read(store, "call")).epoch == 1


async def test_the_next_claim_raises_the_epoch_and_gives_what_the_last_owner_left(place: Place, store: Store) -> None:
    """The head, the agent's state, and the journal; the transcript is for readers alone."""
    first = await store.open("call", "message")
    first.greeted_at, first.state = 12.5, {"order": ["B-1042"]}
    started = entry("t1", started_at=1.0)
    assert await store.write([Change.of(first, [started], [segment("i1")])]) == [WriteResult.WRITTEN]
    second = await place.connect().open("call", "message")
    assert second == replace(first, epoch=2, journal={"t1": started})


async def test_a_record_that_another_message_owns_is_given_as_it_is(store: Store) -> None:
    await store.open("call", "message")
    assert (await store.open("call", "duplicate")).message_id == "message"
    assert (await read(store, "call")).epoch == 1


async def test_a_record_that_has_ended_is_given_as_it_is(store: Store) -> None:
    record = await store.open("call", "message")
    record.end_reason = EndReason.MISSED
    await store.write([Change.of(record)])
    assert await store.open("call", "message") == record
    assert await store.read("call") == record


async def test_claims_at_the_same_moment_give_different_epochs(place: Place) -> None:
    """Five processes, each with a connection of its own."""
    opened = await asyncio.gather(*(place.connect().open("call", "message") for _ in range(5)))
    assert sorted(record.epoch for record in opened) == [1, 2, 3, 4, 5]


async def test_first_claims_by_different_messages_give_one_owner(place: Place) -> None:
    """The same webhook, published twice: two notices, and one of them gets the call."""
    opened = await asyncio.gather(*(place.connect().open("call", f"message-{n}") for n in range(5)))
    assert len({record.message_id for record in opened}) == 1
    assert {record.epoch for record in opened} == {1}


async def test_a_call_nobody_claimed_has_no_record(store: Store) -> None:
    assert await store.read("call") is None
    assert await store.write([Change.of(CallRecord(call_id="call", message_id="message"))]) == [WriteResult.STALE]
    assert await store.read("call") is None


# Writes.


async def test_nothing_of_a_stale_write_is_kept(place: Place, store: Store) -> None:
    first = await store.open("call", "message")
    assert await store.write([Change.of(first, [entry("t1")])]) == [WriteResult.WRITTEN]
    second = await place.connect().open("call", "message")
    first.state = {"mine": True}
    late = Change.of(first, [entry("t1", outcome="late"), entry("t2")], [segment("i1")])
    assert await store.write([late]) == [WriteResult.STALE]
    assert await read(store, "call") == second


async def test_a_claim_among_writes_parts_them_into_kept_and_stale(place: Place, store: Store) -> None:
    """Race: an owner writes on while another opens the record. What was written is there, the rest is not."""
    record = await store.open("call", "message")
    begun = asyncio.Event()

    async def write_until_stale() -> int:
        kept = 0
        while True:
            record.state = {"kept": kept + 1}
            change = Change.of(record, [entry(f"t{kept}")], [segment(f"i{kept}")])
            if await store.write([change]) == [WriteResult.STALE]:
                return kept
            kept += 1
            if kept == WRITES:
                begun.set()

    writing = asyncio.create_task(write_until_stale())
    await begun.wait()
    opened = await place.connect().open("call", "message")
    kept = await writing
    assert kept >= WRITES
    found = await read(store, "call")
    assert found.epoch == 2
    assert found.state == opened.state == {"kept": kept}
    assert list(found.journal) == list(opened.journal) == [f"t{n}" for n in range(kept)]
    assert [piece.item_id for piece in found.transcript] == [f"i{n}" for n in range(kept)]


async def test_the_owner_may_write_by_any_connection(place: Place, store: Store) -> None:
    """And so an owner whose write was in doubt may write it again."""
    record = await store.open("call", "message")
    other = place.connect()
    for number, connection in enumerate([store, other, store, store, other]):
        record.state = {"number": number}
        assert await connection.write([Change.of(record, [entry(f"t{number}")])]) == [WriteResult.WRITTEN]
    found = await read(store, "call")
    assert found.state == {"number": 4}
    assert len(found.journal) == 5


async def test_a_process_that_claimed_a_call_again_writes_with_its_newer_epoch_alone(store: Store) -> None:
    """What it still had to write from its first time is stale, though both come in one batch."""
    first = await store.open("call", "message")
    await store.write([Change.of(first)])
    second = await store.open("call", "message")
    await store.write([Change.of(second)])
    changes = [Change.of(first, [entry("t1")]), Change.of(second, [entry("t2")])]
    assert await store.write(changes) == [WriteResult.STALE, WriteResult.WRITTEN]
    assert list((await read(store, "call")).journal) == ["t2"]


async def test_each_call_in_a_write_has_a_fate_of_its_own(place: Place, store: Store) -> None:
    records = [await store.open(f"call-{n}", "message") for n in range(8)]
    await place.connect().open("call-3", "message")
    fates = await store.write([Change.of(record, [entry("t1")], [segment("i1")]) for record in records])
    assert fates == [WriteResult.STALE if n == 3 else WriteResult.WRITTEN for n in range(8)]
    assert [len((await read(store, f"call-{n}")).journal) for n in range(8)] == [1, 1, 1, 0, 1, 1, 1, 1]


async def test_what_is_written_again_keeps_its_place(place: Place, store: Store) -> None:
    """The journal is in the order in which tools were asked, the transcript in that of what was said."""
    first = await store.open("call", "message")
    await store.write([Change.of(first, [entry("t9"), entry("t5")], [segment("i9"), segment("i5")])])
    other = place.connect()
    second = await other.open("call", "message")
    change = Change.of(
        second,
        [entry("t1"), entry("t9", outcome="done", confirmed=True)],
        [segment("i1"), segment("i9", "Hello again")],
    )
    await other.write([change])
    found = await read(store, "call")
    assert list(found.journal.values()) == [entry("t9", outcome="done", confirmed=True), entry("t5"), entry("t1")]
    assert found.transcript == [segment("i9", "Hello again"), segment("i5"), segment("i1")]


@pytest.mark.parametrize(
    "call_id",
    ["rtc_u0_E6mH7Y", "../../call-2", ".", "..", "__call__", "a/b", "a%2Fb", "día ☎", "nul\0nul", "x" * 256, "'; --"],
    ids=ascii,
)
async def test_an_id_is_never_taken_for_anything_else(store: Store, call_id: str) -> None:
    """Of a call, a tool call or an item: all of them come from outside."""
    record = await store.open(call_id, "message")
    await store.write([Change.of(record, [entry(call_id)], [segment(call_id)])])
    found = await read(store, call_id)
    assert (found.call_id, list(found.journal), found.transcript) == (call_id, [call_id], [segment(call_id)])
    for other in ("rtc_u0_E6mH7Y", "call-2", "a/b", "a%2Fb", "a%252Fb"):
        assert other == call_id or await store.read(other) is None


@pytest.mark.parametrize(
    "value",
    ["día ☎ 𝄞", "nul\0nul", [[], {}, None, 1.5, -0.0, True], 2**70 + 1, "x" * 1_000_000],
    ids=["unicode", "nul", "all kinds", "large number", "1 MB"],
)
async def test_whatever_json_knows_comes_back_as_it_was(place: Place, store: Store, value: object) -> None:
    record = await store.open("call", "message")
    record.state = {"": value}
    said, done = segment("i1", "día ☎ nul\0"), entry("t1", outcome='{"a": "nul\0"}')
    assert await store.write([Change.of(record, [done], [said])]) == [WriteResult.WRITTEN]
    found = await read(place.connect(), "call")
    assert found == replace(record, journal={"t1": done}, transcript=[said])


async def test_state_of_any_depth_that_is_kept_can_be_claimed(place: Place, store: Store) -> None:
    """A record that can be written but not read would be a call that nobody can take over."""
    record = await store.open("call", "message")
    for _ in range(250):
        record.state = {"deeper": record.state}
    assert await store.write([Change.of(record)]) == [WriteResult.WRITTEN]
    assert (await place.connect().open("call", "message")).state == record.state


@pytest.mark.parametrize("odd", [2**63 + 1, ("i", 1), "\ud83d"], ids=["large number", "tuple", "half an emoji"])
async def test_an_id_that_no_store_takes_costs_its_record_alone(place: Place, odd: Any) -> None:
    """OpenAI's ids are strings; whatever else may come, neither the process nor another call's record pays for it."""
    record_writer = RecordWriter(open_store(place.url, project=place.project))
    wrong, right = [await record_writer.open(call_id, "message", within_seconds=5) for call_id in ("wrong", "right")]
    for handle, item_id in ((wrong, odd), (right, "i1")):
        handle.said(segment(item_id))
    with capture_logs() as logs:
        await record_writer.close(within_seconds=5)
    assert [(line["event"], line["call_id"]) for line in logs] == [("record_refused", "wrong")]
    assert (await read(place.connect(), "right")).transcript == [segment("i1")]


async def test_nothing_to_write_is_no_error(store: Store) -> None:
    assert await store.write([]) == []


# Failures.


@asynccontextmanager
async def _broken(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """Give a store that is there but does not answer."""
    if kind == "sqlite":
        monkeypatch.setattr("supervisor.records.sqlite.BUSY_SECONDS", 0.05)
        store = open_store(f"sqlite:{tmp_path / 'records.sqlite'}", project="unused")
        other = sqlite3.connect(tmp_path / "records.sqlite", isolation_level=None)
        other.execute("begin exclusive")
        other.execute("pragma locking_mode=exclusive")
        yield store
        other.close()
    else:
        silent = socket.create_server(("127.0.0.1", 0))
        monkeypatch.setattr("supervisor.records.firestore.OPERATION_SECONDS", 0.3)
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{silent.getsockname()[1]}")
        store = open_store("firestore:", project="p")
        yield store
        silent.close()
    await store.close()


@pytest.mark.parametrize("kind", ["sqlite", "firestore"])
async def test_a_store_that_does_not_answer_says_so_in_time(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = CallRecord(call_id="call", message_id="message")
    async with asyncio.timeout(5), _broken(kind, tmp_path, monkeypatch) as store:
        with pytest.raises(StoreError):
            await store.open("call", "message")
        with pytest.raises(StoreError):
            await store.write([Change.of(record)])


async def test_what_a_flush_has_confirmed_survives_kill_9(tmp_path: Path) -> None:
    """Real processes that share a file, killed while they write."""
    url = f"sqlite:{tmp_path / 'records.sqlite'}"

    async def write_and_die(call_id: str) -> list[str]:
        """Give the tool calls that the process said were durable, until it was killed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.record_writer", url, call_id, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            said = [await process.stdout.readline() for _ in range(WRITES)]
        finally:
            process.kill()
            await process.wait()
        said += [line async for line in process.stdout]
        return [line.decode().strip() for line in said if line.endswith(b"\n")]

    async with asyncio.timeout(MOST_SECONDS):
        confirmed = await asyncio.gather(*(write_and_die(f"call-{n}") for n in range(2)))
        place = Place(url)
        store = place.connect()
        for n, tool_call_ids in enumerate(confirmed):
            record = await read(store, f"call-{n}")
            assert len(tool_call_ids) >= WRITES
            assert list(record.journal)[: len(tool_call_ids)] == tool_call_ids
            assert [piece.item_id for piece in record.transcript] == list(record.journal)
            assert record.state == {"kept": len(record.journal)}
            assert (await store.open(f"call-{n}", "message")).epoch == 2
        await place.close()
