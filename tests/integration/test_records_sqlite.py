"""What is particular to records in SQLite: the file, the disk it is on, and how long it keeps them."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
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


def test_an_unknown_store_is_refused() -> None:
    """An unknown kind of store is refused, with the ways to write a known one."""
    with pytest.raises(StartupError, match="sqlite:PATH, firestore: or firestore:DATABASE"):
        open_store("redis:here", project="p")


async def test_files_are_private(path: Path, store: SqliteStore) -> None:
    """Nobody but its owner may read the file. They hold what people said."""
    await store.open("call", "message")
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_an_unopenable_file_is_named(tmp_path: Path) -> None:
    """A file that cannot be opened is named."""
    with pytest.raises(StartupError, match=r"RECORDS=sqlite:.*/nowhere/records"):
        SqliteStore.connect(str(tmp_path / "nowhere" / "records"))


def test_a_file_of_another_kind_is_named(path: Path) -> None:
    """A file that is no database is named."""
    path.write_text("Dear diary, " * 100)
    with pytest.raises(StartupError, match="not a database"):
        SqliteStore.connect(str(path))


def test_a_later_version_is_left_alone(path: Path) -> None:
    """A file of a later version is left alone."""
    with closing(sqlite3.connect(path)) as later:
        later.execute("pragma user_version=2")
    with pytest.raises(StartupError, match="is of version 2"):
        SqliteStore.connect(str(path))


async def test_race_of_connections_to_a_new_file(path: Path) -> None:
    """Race: several connections find the file missing, and all of them set it up."""
    with ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(SqliteStore.connect, [str(path)] * 8))
    assert sorted([(await store.open("call", "message")).epoch for store in stores]) == list(range(1, 9))
    for store in stores:
        await store.close()


async def test_a_full_disk_is_an_error(store: SqliteStore) -> None:
    """A full disk is an error, and nothing worse.

    Nothing of the batch is kept, and the store goes on when there is space again.
    """
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


async def test_a_failed_commit_stops_no_other(store: SqliteStore) -> None:
    """A commit that fails does not stop the next.

    A deferred constraint makes the commit itself fail, which leaves the transaction open.
    """
    record = await store.open("call", "message")
    store._db.executescript("""pragma foreign_keys=on; create table one (id primary key);
        create table other (one references one (id) deferrable initially deferred);
        create trigger spoil after update on calls begin insert into other values (1); end;""")
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        await store.write([Change.of(record)])
    store._db.execute("drop trigger spoil")
    assert await store.write([Change.of(record)]) == [WriteResult.WRITTEN]


async def test_records_expire(path: Path, store: SqliteStore) -> None:
    """Records are deleted after their time.

    When a process opens the file, those are deleted that were last changed 30 days ago; with all their parts.
    """
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
import sys
from supervisor.records.sqlite import SqliteStore
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    SqliteStore.connect(f"{sys.argv[1]}/{number}.sqlite")
"""


def test_race_of_processes_on_a_new_file(tmp_path: Path) -> None:
    """Race: supervisors that start together make the file together, a hundred times."""
    command, pipe = (sys.executable, "-c", OPENS, str(tmp_path)), subprocess.PIPE
    processes = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert not any(process.returncode for process in processes), "".join(errors)
