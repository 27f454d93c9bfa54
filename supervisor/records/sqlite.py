"""Records in a SQLite file, shared by the processes of one machine.

Write-ahead logging with `synchronous=NORMAL`: what was committed survives the death of the process (kill -9), though
not always the machine losing power. One thread of its own does all the work, a batch in a transaction.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import orjson

from supervisor.errors import StartupError
from supervisor.records.record import CallRecord
from supervisor.records.store import StoreError, Write

T = TypeVar("T")

SCHEMA_VERSION = 1
BUSY_SECONDS = 2.0  # how long a transaction waits for those of other processes
_SCHEMA = """
create table if not exists calls (
    call_id text primary key, message_id text not null, epoch integer not null, ended integer not null,
    head blob not null
) without rowid;
create table if not exists journal (
    call_id text not null, tool_call_id text not null, position integer not null, entry blob not null,
    primary key (call_id, tool_call_id)
) without rowid;
create table if not exists transcript (call_id text not null, item_id text not null, segment blob not null);
create unique index if not exists transcript_items on transcript (call_id, item_id);
"""


class SqliteStore:
    """Records in one file."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._db = connection
        self._thread = thread

    @classmethod
    def open(cls, path: str) -> SqliteStore:
        """Open or make the file, readable by its owner alone, since it holds what people said.

        Raises:
            StartupError: it can't be opened, or is of a later version.
        """
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            db.execute("pragma journal_mode=wal")
            db.execute("pragma synchronous=normal")
            (version,) = db.execute("pragma user_version").fetchone()
            if version not in (0, SCHEMA_VERSION):
                raise StartupError(f"RECORDS=sqlite:{path}: the file is of version {version}, this is {SCHEMA_VERSION}")
            db.executescript(f"begin immediate; {_SCHEMA} pragma user_version={SCHEMA_VERSION}; commit;")
        except (OSError, sqlite3.Error) as error:
            raise StartupError(f"RECORDS=sqlite:{path}: {error}") from error
        return cls(db, ThreadPoolExecutor(1, thread_name_prefix="records"))

    async def claim(self, call_id: str, message_id: str) -> CallRecord:
        """See `Store.claim`."""
        return await self._run(lambda: self._claim(call_id, message_id))

    async def write(self, writes: Sequence[Write]) -> set[str]:
        """See `Store.write`."""
        changes = [_Change(write) for write in writes]  # serialised here, where nobody changes them meanwhile
        return await self._run(lambda: self._write(changes))

    async def read(self, call_id: str) -> CallRecord | None:
        """See `Store.read`."""
        return await self._run(lambda: self._read(call_id, whole=True))

    async def close(self) -> None:
        """See `Store.close`."""
        await self._run(self._db.close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise StoreError(f"SQLite: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def _claim(self, call_id: str, message_id: str) -> CallRecord:
        with self._transaction():
            record = self._read(call_id, whole=False)
            if record is None:
                record = CallRecord(call_id=call_id, message_id=message_id)
            elif record.message_id != message_id or record.end_reason:
                return record
            else:
                record.epoch += 1
            self._db.execute(
                "insert into calls values (?, ?, ?, 0, ?) "
                "on conflict do update set epoch=excluded.epoch, head=excluded.head",
                (call_id, message_id, record.epoch, record.head()),
            )
        return record

    def _write(self, changes: Sequence[_Change]) -> set[str]:
        stale: set[str] = set()
        with self._transaction():
            for change in changes:
                updated = self._db.execute(
                    "update calls set head=?, ended=? where call_id=? and epoch=?",
                    (change.head, change.ended, change.call_id, change.epoch),
                )
                if not updated.rowcount:
                    stale.add(change.call_id)
                    continue
                self._db.executemany(
                    "insert into journal select ?1, ?2, count(*), ?3 from journal where call_id=?1 "
                    "on conflict do update set entry=excluded.entry",
                    change.journal,
                )
                self._db.executemany(
                    "insert into transcript values (?, ?, ?) on conflict do update set segment=excluded.segment",
                    change.segments,
                )
        return stale

    def _read(self, call_id: str, *, whole: bool) -> CallRecord | None:
        row = self._db.execute("select head, epoch from calls where call_id=?", (call_id,)).fetchone()
        if row is None:
            return None
        head, epoch = row
        journal = self._db.execute(
            "select tool_call_id, entry from journal where call_id=? order by position", (call_id,)
        )
        segments = self._db.execute("select segment from transcript where call_id=? order by rowid", (call_id,))
        return CallRecord.model_validate(
            {
                **orjson.loads(head),
                "epoch": epoch,
                "journal": {tool_call_id: orjson.loads(entry) for tool_call_id, entry in journal},
                "transcript": [orjson.loads(segment) for (segment,) in segments] if whole else [],
            }
        )


class _Change:
    """A write as SQLite takes it."""

    def __init__(self, write: Write) -> None:
        record = write.record
        self.call_id, self.epoch, self.ended = record.call_id, record.epoch, record.end_reason is not None
        self.head = record.head()
        self.journal = [(self.call_id, id_, entry.model_dump_json().encode()) for id_, entry in write.journal.items()]
        self.segments = [(self.call_id, s.item_id, s.model_dump_json().encode()) for s in write.segments]
