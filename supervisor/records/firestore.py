"""Records in Firestore, shared by supervisors on many machines.

    calls/{call id}                           epoch     head     expires_at
    calls/{call id}/journal/{tool call id}    position  entry    expires_at
    calls/{call id}/transcript/{item id}      position  segment  expires_at

`head`, `entry` and `segment` are JSON. Each change is one commit, with the head's last update time as its precondition:
opening a record shuts out the owner before, and a commit that was given up and arrives late does nothing. Transactions
would do the same with locks, and a process killed in one would leave the record locked for its next owner.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import structlog
from google.api_core.exceptions import Aborted, AlreadyExists, FailedPrecondition, GoogleAPIError, InvalidArgument
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore import AsyncClient, AsyncDocumentReference, Minimum

from supervisor.errors import StartupError
from supervisor.records.record import CallRecord
from supervisor.records.store import RETENTION_DAYS, Change, StoreError, WriteResult, gather_all

log = structlog.get_logger()

JSON_FIELDS = {"calls": "head", "journal": "entry", "transcript": "segment"}
OPERATION_SECONDS = 3.0
MAX_OPERATIONS = 64  # under way at once
MAX_CHANGE_BYTES = 9 * 1024 * 1024  # Firestore's limit for a request is 10 MiB, and 1 MiB for a document
MAX_UPDATE_TIMES = 10_000  # remembered, each of which saves a read
_EPOCH_POSITIONS = 2**32  # for journal entries and segments that one owner writes


class FirestoreStore:
    """Keep records in one Firestore database.

    Its TTL policies on `expires_at` delete them.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(MAX_OPERATIONS)
        self._count = itertools.count()
        self._updated: dict[tuple[str, int], datetime] = {}
        """When Firestore last updated the heads that we wrote, by call id and epoch."""

    @classmethod
    def connect(cls, *, project: str, database: str) -> FirestoreStore:
        """Make a client with the machine's credentials.

        It asks the database nothing yet.

        Raises:
            StartupError: there are no credentials.
        """
        try:
            return cls(AsyncClient(project=project, database=database))
        except GoogleAuthError as error:
            raise StartupError(f"RECORDS=firestore:{database}: {error}") from error

    async def open(self, call_id: str, message_id: str) -> CallRecord:
        """Open a record for a new owner; see `Store.open`."""
        async with self._operation():
            while True:
                head = await self._head(call_id).get(timeout=OPERATION_SECONDS)
                if not head.exists:
                    record = CallRecord(call_id=call_id, message_id=message_id)
                    if await self._commit(Change.of(record), None):
                        return record
                    continue
                record = CallRecord.of_head(head.get("head"))
                ours = record.may_be_opened_by(message_id)
                if ours:
                    record.epoch += 1
                if not ours or await self._commit(Change.of(record), head.update_time):
                    # The last owner is shut out by now, so this is all of its journal.
                    return record.with_parts(await self._parts(call_id, "journal"))

    async def write(self, changes: Sequence[Change]) -> list[WriteResult]:
        """Write changes, each in a commit of its own; see `Store.write`."""
        return await gather_all(self._write(change) for change in changes)

    async def read(self, call_id: str) -> CallRecord | None:
        """Read a whole record; see `Store.read`."""
        async with self._operation():
            head = await self._head(call_id).get(timeout=OPERATION_SECONDS)
            if not head.exists:
                return None
            journal = await self._parts(call_id, "journal")
            transcript = await self._parts(call_id, "transcript")
            return CallRecord.of_head(head.get("head")).with_parts(journal, transcript)

    async def close(self) -> None:
        """Close the client's channel."""
        await self._client._firestore_api.transport.close()  # noqa: SLF001 - the client has no close of its own

    async def _write(self, change: Change) -> WriteResult:
        if change.bytes > MAX_CHANGE_BYTES:
            return _refuse(change, f"it is larger than {MAX_CHANGE_BYTES} bytes")
        async with self._operation():
            updated = self._updated.get((change.call_id, change.epoch))
            try:
                while updated is None or not await self._commit(change, updated):
                    # Not known, or no longer: another opened it, or a commit of ours in doubt came through.
                    head = await self._head(change.call_id).get(["epoch"], timeout=OPERATION_SECONDS)
                    if not head.exists or head.get("epoch") != change.epoch:
                        return WriteResult.STALE
                    updated = head.update_time
            except InvalidArgument as error:
                return _refuse(change, error.message)
            return WriteResult.WRITTEN

    async def _parts(self, call_id: str, collection: str) -> list[str]:
        query = self._head(call_id).collection(collection).order_by("position")
        return [part.get(JSON_FIELDS[collection]) for part in await query.get(timeout=OPERATION_SECONDS)]

    async def _commit(self, change: Change, updated: datetime | None) -> bool:
        """Write a change, provided that the head is unchanged.

        Returns False when the head was not last updated at the time `updated`.

        None instead of a time stands for a record that does not exist yet.
        """
        head, batch = self._head(change.call_id), self._client.batch()
        expires_at = datetime.now(UTC) + timedelta(days=RETENTION_DAYS)
        whole = {"epoch": change.epoch, "head": change.head, "expires_at": expires_at}
        if updated is None:
            batch.create(head, whole)
        else:
            batch.update(head, whole, option=self._client.write_option(last_update_time=updated))
        for collection, parts in (("journal", change.journal), ("transcript", change.segments)):
            for key, part in parts.items():
                position = change.epoch * _EPOCH_POSITIONS + next(self._count)
                document = head.collection(collection).document(_key(key))
                fields = {JSON_FIELDS[collection]: part, "expires_at": expires_at}
                fields["position"] = Minimum(position)  # what is replaced keeps its place
                batch.set(document, fields, merge=True)
        try:
            written, *_ = await batch.commit(timeout=OPERATION_SECONDS)
        except (FailedPrecondition, AlreadyExists, Aborted):
            self._updated.pop((change.call_id, change.epoch), None)
            return False
        self._remember(change, written.update_time)
        return True

    def _remember(self, change: Change, updated: datetime) -> None:
        self._updated.pop((change.call_id, change.epoch), None)
        self._updated[change.call_id, change.epoch] = updated
        if len(self._updated) > MAX_UPDATE_TIMES:
            del self._updated[next(iter(self._updated))]  # the one that was not used for longest

    def _head(self, call_id: str) -> AsyncDocumentReference:
        return self._client.collection("calls").document(_key(call_id))

    @asynccontextmanager
    async def _operation(self) -> AsyncIterator[None]:
        """Limit operations in number and time.

        Raises:
            StoreError: Firestore failed, or did not answer in time.
        """
        try:
            async with self._slots, asyncio.timeout(OPERATION_SECONDS):
                yield
        except TimeoutError:
            raise StoreError(f"Firestore did not answer within {OPERATION_SECONDS:.0f} s") from None
        except (GoogleAPIError, GoogleAuthError) as error:
            raise StoreError(f"Firestore: {error}") from error


def _refuse(change: Change, reason: str) -> WriteResult:
    log.error("record_refused", call_id=change.call_id, reason=reason, bytes=change.bytes)
    return WriteResult.REFUSED


def _key(key: str) -> str:
    """Turn an id into a valid name of a document.

    Such a name has no slash, and is neither `.` nor `..` nor `__...__`.
    """
    return quote(key, safe="").replace(".", "%2E").replace("__", "%5F%5F")
