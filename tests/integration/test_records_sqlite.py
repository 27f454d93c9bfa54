"""What is particular to records in SQLite: the file, the disk it is on, and how long it keeps them."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from supervisor.errors import StartupError
from supervisor.records.opening import open_store
from supervisor.records.record import JournalEntry, Segment
from supervisor.records.sqlite import SqliteStore
from supervisor.records.store import Change, StoreError, WriteResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGES = 40
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.connect(str(path))
    yield store
    await store.close()


def test_an_unknown_kind_of_store_is_refused_with_the_ways_to_write_it() -> None:
    with pytest.raises(StartupError, match="sqlite:PATH, firestore: or firestore:DATABASE"):
        open_store("redis:here", project="p")


async def test_its_files_are_for_their_owner_alone(path: Path, store: SqliteStore) -> None:
    """They hold what people said."""
    await store.open("call", "message")
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"RECORDS=sqlite:.*/nowhere/records"):
        SqliteStore.connect(str(tmp_path / "nowhere" / "records"))


def test_a_file_of_something_else_is_named(path: Path) -> None:
    path.write_text("Dear diary, " * 100)
    with pytest.raises(StartupError, match="not a database"):
        SqliteStore.connect(str(path))


def test_a_file_of_a_later_version_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as later:
        later.execute("pragma user_version=2")
    with pytest.raises(StartupError, match="is of version 2"):
        SqliteStore.connect(str(path))


async def test_many_processes_may_make_the_file_at_once(path: Path) -> None:
    """Race: all find it missing, and all of them set it up."""
    with ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(SqliteStore.connect, [str(path)] * 8))
    assert sorted([(await store.open("call", "message")).epoch for store in stores]) == list(range(1, 9))
    for store in stores:
        await store.close()


async def test_a_full_disk_is_an_error_and_nothing_worse(store: SqliteStore) -> None:
    """Nothing of the batch is kept, and the store goes on when there is space again."""
    record = await store.open("call", "message")
    store._db.execute(f"pragma max_page_count={PAGES}")
    record.state = {"large": "x" * 4096 * PAGES}
    entry = JournalEntry(tool_call_id="t1", name="pay", arguments="{}")
    for _ in range(3):
        with pytest.raises(StoreError, match="disk is full"):
            await store.write([Change.of(record, [entry])])
    store._db.execute("pragma max_page_count=100000")
    kept = await store.read("call")
    assert kept is not None
    assert (kept.state, kept.journal) == ({}, {})
    assert await store.write([Change.of(record, [entry])]) == [WriteResult.WRITTEN]


async def test_a_commit_that_fails_does_not_stop_the_next(store: SqliteStore) -> None:
    """A deferred constraint makes the commit itself fail, which leaves the transaction open."""
    record = await store.open("call", "message")
    store._db.executescript("""pragma foreign_keys=on; create table one (id primary key);
        create table other (one references one (id) deferrable initially deferred);
        create trigger spoil after update on calls begin insert into other values (1); end;""")
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        await store.write([Change.of(record)])
    store._db.execute("drop trigger spoil")
    assert await store.write([Change.of(record)]) == [WriteResult.WRITTEN]


async def test_records_are_forgotten_after_their_time(path: Path, store: SqliteStore) -> None:
    """When a process opens the file, those are deleted that were last changed 30 days ago; with all their parts."""
    entry = JournalEntry(tool_call_id="t1", name="pay", arguments="{}")
    segment = Segment(item_id="i1", role="caller", text="Hello", at=1.0)
    for call_id in ("old", "new"):
        await store.write([Change.of(await store.open(call_id, "message"), [entry], [segment])])
    store._db.execute("update calls set expires_at = expires_at - 30*24*60*60 - 5 where call_id='old'")
    await SqliteStore.connect(str(path)).close()
    assert await store.read("old") is None
    assert store._db.execute("select call_id from journal union all select call_id from transcript").fetchall() == [
        ("new",),
        ("new",),
    ]


OPENS = """
import sys, time
from supervisor.records.sqlite import SqliteStore
time.sleep(max(0, float(sys.argv[2]) - time.time()))
for number in range(100):
    SqliteStore.connect(f"{sys.argv[1]}/{number}.sqlite")
"""


def test_race_of_processes_that_open_a_new_file(tmp_path: Path) -> None:
    """Supervisors that start together make the file together, a hundred times."""
    together = str(time.time() + 1.5)
    command = (sys.executable, "-c", OPENS, str(tmp_path), together)
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert not any(process.returncode for process in processes), "".join(errors)
