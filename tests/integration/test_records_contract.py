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
MOST_SECONDS = 60.0


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


async def test_first_open_makes_epoch_1(store: Store) -> None:
    """The first message to open a call's record makes it, with epoch 1."""
    assert await store.open("call", "message") == CallRecord(call_id="call", message_id="message", epoch=1)
    assert (await read(store, "call")).epoch == 1


async def test_next_open_raises_the_epoch(place: Place, store: Store) -> None:
    """The next owner to open the record raises its epoch and gets what the last one left.

    The head, the agent's state, and the journal; the transcript is for readers alone.
    """
    first = await store.open("call", "message")
    first.greeted_at, first.state = 12.5, {"order": ["B-1042"]}
    started = entry("t1", started_at=1.0)
    assert await store.write([Change.of(first, [started], [segment("i1")])]) == [WriteResult.WRITTEN]
    second = await place.connect().open("call", "message")
    assert second == replace(first, epoch=2, journal={"t1": started})


async def test_a_duplicate_changes_nothing(store: Store) -> None:
    """A record that another message owns is given as it is."""
    await store.open("call", "message")
    assert (await store.open("call", "duplicate")).message_id == "message"
    assert (await read(store, "call")).epoch == 1


async def test_an_ended_record_is_unchanged(store: Store) -> None:
    """A record that has ended is given as it is."""
    record = await store.open("call", "message")
    record.end_reason = EndReason.MISSED
    await store.write([Change.of(record)])
    assert await store.open("call", "message") == record
    assert await store.read("call") == record


async def test_race_of_opens_gives_epochs(place: Place) -> None:
    """Race: processes that open a record at the same moment get different epochs.

    Five processes, each with a connection of its own.
    """
    opened = await asyncio.gather(*(place.connect().open("call", "message") for _ in range(5)))
    assert sorted(record.epoch for record in opened) == [1, 2, 3, 4, 5]


async def test_race_of_messages_has_one_owner(place: Place) -> None:
    """Race: of different messages that open a record first, one owns it.

    The same webhook, published twice: two notices, and one of them gets the call.
    """
    opened = await asyncio.gather(*(place.connect().open("call", f"message-{n}") for n in range(5)))
    assert len({record.message_id for record in opened}) == 1
    assert {record.epoch for record in opened} == {1}


async def test_no_record_before_it_is_opened(store: Store) -> None:
    """A call whose record nobody opened has none, and nothing is written of it."""
    assert await store.read("call") is None
    assert await store.write([Change.of(CallRecord(call_id="call", message_id="message"))]) == [WriteResult.STALE]
    assert await store.read("call") is None


# Writes.


async def test_nothing_stale_is_kept(place: Place, store: Store) -> None:
    """Nothing of a write with an old epoch is kept."""
    first = await store.open("call", "message")
    assert await store.write([Change.of(first, [entry("t1")])]) == [WriteResult.WRITTEN]
    second = await place.connect().open("call", "message")
    first.state = {"mine": True}
    late = Change.of(first, [entry("t1", outcome="late"), entry("t2")], [segment("i1")])
    assert await store.write([late]) == [WriteResult.STALE]
    assert await read(store, "call") == second


async def test_race_of_writes_with_an_open(place: Place, store: Store) -> None:
    """Race: an owner writes on while another opens the record; what was written is there, the rest is not."""
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


async def test_any_connection_of_the_owner_writes(place: Place, store: Store) -> None:
    """The owner may write by any connection. And so an owner whose write was in doubt may write it again."""
    record = await store.open("call", "message")
    other = place.connect()
    for number, connection in enumerate([store, other, store, store, other]):
        record.state = {"number": number}
        assert await connection.write([Change.of(record, [entry(f"t{number}")])]) == [WriteResult.WRITTEN]
    found = await read(store, "call")
    assert found.state == {"number": 4}
    assert len(found.journal) == 5


async def test_only_the_newest_epoch_writes(store: Store) -> None:
    """A process that opened a record twice writes with its newer epoch alone.

    What it still had to write from its first time is stale, though both come in one batch.
    """
    first = await store.open("call", "message")
    await store.write([Change.of(first)])
    second = await store.open("call", "message")
    await store.write([Change.of(second)])
    changes = [Change.of(first, [entry("t1")]), Change.of(second, [entry("t2")])]
    assert await store.write(changes) == [WriteResult.STALE, WriteResult.WRITTEN]
    assert list((await read(store, "call")).journal) == ["t2"]


async def test_each_call_in_a_batch_is_its_own(place: Place, store: Store) -> None:
    """One stale call in a batch is refused; the others are written."""
    records = [await store.open(f"call-{n}", "message") for n in range(8)]
    await place.connect().open("call-3", "message")
    fates = await store.write([Change.of(record, [entry("t1")], [segment("i1")]) for record in records])
    assert fates == [WriteResult.STALE if n == 3 else WriteResult.WRITTEN for n in range(8)]
    assert [len((await read(store, f"call-{n}")).journal) for n in range(8)] == [1, 1, 1, 0, 1, 1, 1, 1]


async def test_rewritten_parts_keep_their_place(place: Place, store: Store) -> None:
    """What is written again keeps its place.

    The journal is in the order in which tools were asked, the transcript in that of what was said.
    """
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
async def test_ids_are_never_paths(store: Store, call_id: str) -> None:
    """An id is never taken for anything else, such as a path.

    Of a call, a tool call or an item: all of them come from outside.
    """
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
async def test_json_comes_back_as_it_was(place: Place, store: Store, value: object) -> None:
    """Whatever JSON knows comes back as it was."""
    record = await store.open("call", "message")
    record.state = {"": value}
    said, done = segment("i1", "día ☎ nul\0"), entry("t1", outcome='{"a": "nul\0"}')
    assert await store.write([Change.of(record, [done], [said])]) == [WriteResult.WRITTEN]
    found = await read(place.connect(), "call")
    assert found == replace(record, journal={"t1": done}, transcript=[said])


async def test_deep_state_can_be_opened(place: Place, store: Store) -> None:
    """State of any depth that was written can be opened by the next owner.

    A record that can be written but not read would be a call that nobody can take over.
    """
    record = await store.open("call", "message")
    for _ in range(250):
        record.state = {"deeper": record.state}
    assert await store.write([Change.of(record)]) == [WriteResult.WRITTEN]
    assert (await place.connect().open("call", "message")).state == record.state


@pytest.mark.parametrize("odd", [2**63 + 1, ("i", 1), "\ud83d"], ids=["large number", "tuple", "half an emoji"])
async def test_an_impossible_id_costs_one_record(place: Place, odd: Any) -> None:
    """An id that no store can take costs its own record alone.

    OpenAI's ids are strings; whatever else may come, neither the process nor another call's record pays for it.
    """
    record_writer = RecordWriter(open_store(place.url, project=place.project))
    wrong, right = [await record_writer.open(call_id, "message", within_seconds=5) for call_id in ("wrong", "right")]
    for handle, item_id in ((wrong, odd), (right, "i1")):
        handle.said(segment(item_id))
    with capture_logs() as logs:
        await record_writer.close(within_seconds=5)
    assert [(line["event"], line["call_id"]) for line in logs] == [("record_refused", "wrong")]
    assert (await read(place.connect(), "right")).transcript == [segment("i1")]


async def test_an_empty_batch_is_no_error(store: Store) -> None:
    """Nothing to write is no error."""
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
async def test_a_silent_store_is_an_error(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that never answers is a `StoreError`, not a wait without end."""
    record = CallRecord(call_id="call", message_id="message")
    async with asyncio.timeout(MOST_SECONDS), _broken(kind, tmp_path, monkeypatch) as store:
        with pytest.raises(StoreError):
            await store.open("call", "message")
        with pytest.raises(StoreError):
            await store.write([Change.of(record)])


async def test_flushed_writes_survive_kill_9(tmp_path: Path) -> None:
    """What a flush has confirmed survives `kill -9`. Real processes that share a file, killed while they write."""
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
