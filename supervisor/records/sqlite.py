"""Records in a SQLite file, shared by the processes of one machine.

Write-ahead logging with `synchronous=NORMAL`: what was committed survives the death of the process (kill -9), though
not always the machine losing power. One thread of its own does all the work, a batch in a transaction.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Literal, TypeVar

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from supervisor.errors import StartupError
from supervisor.records.record import CallRecord
from supervisor.records.store import RETENTION_DAYS, Change, StoreError, WriteResult

T = TypeVar("T")

SCHEMA_VERSION = 1
OPEN_SECONDS = 10.0
BUSY_SECONDS = 2.0  # how long a transaction waits for those of other processes
_ERRORS_OF_A_CHANGE = (sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)  # the file is well
_SCHEMA = """
create table if not exists calls (call_id text primary key, epoch integer not null, head text, expires_at real);
create table if not exists journal (
    position integer primary key, call_id text not null, tool_call_id text not null, entry text not null,
    unique (call_id, tool_call_id)
);
create table if not exists transcript (
    position integer primary key, call_id text not null, item_id text not null, segment text not null,
    unique (call_id, item_id)
);
"""
_PRUNE = """
delete from calls where expires_at < strftime('%s', 'now') + 0;
delete from journal where call_id not in (select call_id from calls);
delete from transcript where call_id not in (select call_id from calls);
"""


class SqliteStore:
    """Keep records in one file."""

    def __init__(self, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._db = connection
        self._thread = thread

    @classmethod
    def connect(cls, path: str) -> SqliteStore:
        """Open the file, or make it, readable by its owner alone.

        It holds what people said. Records that were kept for long enough are deleted.

        Raises:
            StartupError: the file can't be opened, or is of a later version.
        """
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            db = _connect(path)
        except (OSError, sqlite3.Error) as error:
            raise StartupError(f"RECORDS=sqlite:{path}: {error}") from error
        return cls(db, ThreadPoolExecutor(1, thread_name_prefix="records"))

    async def open(self, call_id: str, message_id: str) -> CallRecord:
        """Open a record for a new owner; see `Store.open`."""
        return await self._run(lambda: self._open(call_id, message_id))

    async def write(self, changes: Sequence[Change]) -> list[WriteResult]:
        """Write changes, all in one transaction; see `Store.write`."""
        return await self._run(lambda: self._write(changes))

    async def read(self, call_id: str) -> CallRecord | None:
        """Read a whole record; see `Store.read`."""
        return await self._run(lambda: self._read(call_id))

    async def close(self) -> None:
        """Close the file, and end the thread."""
        await self._run(self._db.close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except _ERRORS_OF_A_CHANGE:
            raise
        except sqlite3.Error as error:
            raise StoreError(f"SQLite: {error}") from error

    @contextmanager
    def _transaction(self, kind: Literal["immediate", "deferred"] = "immediate") -> Iterator[None]:
        self._db.execute(f"begin {kind}")
        try:
            yield
            self._db.execute("commit")
        finally:
            if self._db.in_transaction:  # a full disk ends it by itself, a failed commit may not
                self._db.execute("rollback")

    def _open(self, call_id: str, message_id: str) -> CallRecord:
        with self._transaction():
            record = self._select(call_id, with_transcript=False)
            if record is None:
                record = CallRecord(call_id=call_id, message_id=message_id)
            elif record.may_be_opened_by(message_id):
                record.epoch += 1
            else:
                return record
            self._db.execute(
                "insert into calls values (?, ?, ?, ?) "
                "on conflict do update set epoch=excluded.epoch, head=excluded.head, expires_at=excluded.expires_at",
                (call_id, record.epoch, record.head(), _expires_at()),
            )
        return record

    def _write(self, changes: Sequence[Change]) -> list[WriteResult]:
        with self._transaction():
            return [self._write_one(change) for change in changes]

    def _write_one(self, change: Change) -> WriteResult:
        call_id = change.call_id
        updated = self._db.execute(
            "update calls set head=?, expires_at=? where call_id=? and epoch=?",
            (change.head, _expires_at(), call_id, change.epoch),
        )
        if not updated.rowcount:
            return WriteResult.STALE
        self._db.executemany(
            "insert into journal (call_id, tool_call_id, entry) values (?, ?, ?) "
            "on conflict do update set entry=excluded.entry",
            [(call_id, key, entry) for key, entry in change.journal.items()],
        )
        self._db.executemany(
            "insert into transcript (call_id, item_id, segment) values (?, ?, ?) "
            "on conflict do update set segment=excluded.segment",
            [(call_id, key, segment) for key, segment in change.segments.items()],
        )
        return WriteResult.WRITTEN

    def _read(self, call_id: str) -> CallRecord | None:
        with self._transaction("deferred"):
            return self._select(call_id, with_transcript=True)

    def _select(self, call_id: str, *, with_transcript: bool) -> CallRecord | None:
        head = self._db.execute("select head from calls where call_id=?", (call_id,)).fetchone()
        if head is None:
            return None
        journal = self._db.execute("select entry from journal where call_id=? order by position", (call_id,))
        transcript = self._db.execute("select segment from transcript where call_id=? order by position", (call_id,))
        return CallRecord.of_head(head[0]).with_parts(
            [entry for (entry,) in journal], [segment for (segment,) in transcript] if with_transcript else []
        )


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY


# While another process makes the file, SQLite says so at once, whatever the time-out.
@retry(retry=retry_if_exception(_is_busy), wait=wait_random(0, 0.1), stop=stop_after_delay(OPEN_SECONDS), reraise=True)
def _connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    with ExitStack() as undo:
        undo.callback(db.close)
        _prepare(db, path)
        undo.pop_all()
    return db


def _prepare(db: sqlite3.Connection, path: str) -> None:
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=normal")
    db.execute("pragma cache_size=-256")  # kB; what is written is seldom read again
    (version,) = db.execute("pragma user_version").fetchone()
    if version not in (0, SCHEMA_VERSION):
        raise StartupError(f"RECORDS=sqlite:{path}: the file is of version {version}, this is {SCHEMA_VERSION}")
    db.executescript(f"begin immediate; {_SCHEMA} {_PRUNE} pragma user_version={SCHEMA_VERSION}; commit;")


def _expires_at() -> float:
    return time.time() + RETENTION_DAYS * 24 * 60 * 60
