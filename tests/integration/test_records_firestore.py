"""What is particular to records in Firestore: its limits, its TTL, and commits that arrive late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import StartupError
from supervisor.records.firestore import FirestoreStore
from supervisor.records.record import CallRecord, JournalEntry, Segment
from supervisor.records.store import Change, WriteResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.google
ENTRY = JournalEntry(tool_call_id="t1", name="pay", arguments="{}")


@pytest.fixture
async def store(firestore_project: str) -> AsyncIterator[FirestoreStore]:
    store = FirestoreStore.connect(project=firestore_project, database="(default)")
    yield store
    await store.close()


async def head_time(store: FirestoreStore, call_id: str) -> datetime:
    time = (await store._head(call_id).get()).update_time
    assert isinstance(time, datetime)
    return time


async def test_every_document_expires(store: FirestoreStore) -> None:
    """Every document says when it expires. For the TTL policies, which delete each document by itself."""
    record = await store.open("call", "message")
    await store.write([Change.of(record, [ENTRY], [Segment(item_id="i1", role="caller", text="Hello", at=1.0)])])
    in_a_month = datetime.now(UTC) + timedelta(days=30)
    head = store._head("call")
    documents = [await head.get(), *await head.collection("journal").get(), *await head.collection("transcript").get()]
    assert len(documents) == 3
    for document in documents:
        assert abs(document.get("expires_at") - in_a_month) < timedelta(minutes=1)


@pytest.mark.parametrize("megabytes", [1.1, 11], ids=["a document", "a request"])
async def test_a_record_too_large_is_refused(store: FirestoreStore, megabytes: float) -> None:
    """A record beyond Firestore's limits is refused, and holds up no other."""
    large, small = await store.open("large", "message"), await store.open("small", "message")
    large.state = {"large": "x" * round(megabytes * 1024 * 1024)}
    assert await store.write([Change.of(large, [ENTRY]), Change.of(small, [ENTRY])]) == [
        WriteResult.REFUSED,
        WriteResult.WRITTEN,
    ]
    kept = await store.read("large")
    assert kept is not None
    assert (kept.state, kept.journal) == ({}, {})


async def test_race_of_a_late_commit(store: FirestoreStore) -> None:
    """A commit that was given up and arrives late undoes nothing.

    Race: a commit times out here, but is still on its way when the next one is written.
    """
    record = await store.open("call", "message")
    before = await head_time(store, "call")
    given_up = Change.of(record)
    record.greeted_at = 1.0
    assert await store.write([Change.of(record)]) == [WriteResult.WRITTEN]
    assert not await store._commit(given_up, before)
    assert await store.read("call") == record


async def test_race_of_a_late_first_commit(store: FirestoreStore) -> None:
    """A first commit that arrives late undoes nothing. Race: the same, for the commit that makes a record."""
    record = await store.open("call", "message")
    assert not await store._commit(Change.of(CallRecord(call_id="call", message_id="other")), None)
    assert await store.read("call") == record


async def test_remembered_writes_are_bounded(store: FirestoreStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the store remembers of its writes is bounded. What it has forgotten it asks for again."""
    monkeypatch.setattr("supervisor.records.firestore.MAX_UPDATE_TIMES", 2)
    records = [await store.open(f"call-{n}", "message") for n in range(4)]
    assert len(store._updated) == 2
    assert await store.write([Change.of(record) for record in records]) == [WriteResult.WRITTEN] * 4
    assert len(store._updated) == 2


async def test_missing_credentials_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without credentials is told so at start."""
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(StartupError, match=r"RECORDS=firestore:calls: .*credentials"):
        FirestoreStore.connect(project="p", database="calls")
