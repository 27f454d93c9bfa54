"""Write records behind their owners, in batches.

Owners change their records at once, and the store gets the changes later.

One batch is under way at a time, for all calls of the process, so that 500 calls that flush at once cost one
transaction. A change that nobody waits for is written within `WRITE_BEHIND_SECONDS`. While the store is down, changes
wait in memory: the heads and journals of calls in hand, which can't grow much, and `MAX_SEGMENTS` segments, beyond
which the oldest are dropped, counted in their record, and logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress

import structlog

from supervisor.records.handle import RecordHandle
from supervisor.records.record import CallRecord
from supervisor.records.store import Change, Store, StoreError, WriteResult, gather_all
from supervisor.records.unwritten import Portion

log = structlog.get_logger()

WRITE_BEHIND_SECONDS = 0.5
STORE_SECONDS = 5.0  # for one batch; a store that takes longer counts as down
RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 0.1  # between tries when the process is about to end
MAX_SEGMENTS = 10_000  # of all calls together


class RecordWriter:
    """Write the records of all calls of one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dirty: dict[RecordHandle, None] = {}
        self._any_dirty = asyncio.Event()
        self._unopened: dict[RecordHandle, None] = {}
        """Those with something to write that could not be opened yet."""
        self._any_unopened = asyncio.Event()
        self._hurry = asyncio.Event()
        self._store_up: bool | None = None
        """Whether the store answered last time; None before it was asked."""

    async def open(self, call_id: str, message_id: str, *, within_seconds: float) -> RecordHandle:
        """Open a call's record for its new owner.

        Where the store does not answer in time, the handle is provisional: its record begins empty, and is merged with
        the store's as soon as that answers.
        """
        try:
            async with asyncio.timeout(within_seconds):
                return RecordHandle(await self._store.open(call_id, message_id), provisional=False, _writer=self)
        except (StoreError, TimeoutError, ValueError) as error:
            log.error("record_not_opened", call_id=call_id, error=str(error) or "time-out", action="served without it")
        except Exception:
            log.exception("record_not_opened", call_id=call_id, action="served without it")
        unknown = CallRecord(call_id=call_id, message_id=message_id, epoch=0)
        return RecordHandle(unknown, provisional=True, _writer=self)

    def enqueue(self, handle: RecordHandle) -> None:
        """Write what is new in a record soon.

        Where the record is not open yet, that comes first.
        """
        if handle.provisional:
            self._unopened[handle] = None
            self._any_unopened.set()
        else:
            self._dirty[handle] = None
            self._any_dirty.set()

    def hurry(self) -> None:
        """Write what is queued at once, since somebody waits for it."""
        self._hurry.set()

    async def run(self) -> None:
        """Write what is queued, until cancelled.

        Records that could not be opened are tried in a task of their own, so that no other waits for them.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_opening(), name="open late records")
            while True:
                await self._any_dirty.wait()
                await _wait_at_most(WRITE_BEHIND_SECONDS, self._hurry)
                if not await self._write_batch():
                    await asyncio.sleep(RETRY_SECONDS)

    async def close(self, within_seconds: float) -> None:
        """Write what is left while there is time; close the store."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while self._dirty or self._unopened:
                    written = await self._write_batch()
                    if not (await self._open_all() and written):
                        await asyncio.sleep(LAST_RETRY_SECONDS)
        if left := [handle.record.call_id for handle in (*self._dirty, *self._unopened)]:
            log.error("records_not_written", calls=left)
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                await self._store.close()

    async def _write_batch(self) -> bool:
        """Write all that is queued.

        Returns False when the store failed; all of it is queued again then.
        """
        self._any_dirty.clear()
        self._hurry.clear()
        batch, self._dirty = self._dirty, {}
        portions = dict(_portions(batch))
        if not portions:
            return True
        try:
            async with asyncio.timeout(STORE_SECONDS):
                results = await self._write([portion.change for portion in portions.values()])
        except BaseException as error:
            for handle, portion in portions.items():
                handle.unwritten.put_back(portion)
            self._dirty = {handle: None for handle in (*batch, *self._dirty) if not handle.stale}
            self._any_dirty.set()
            if not isinstance(error, StoreError | TimeoutError):
                raise
            self._note_failure(error)
            return False
        for (handle, portion), result in zip(portions.items(), results, strict=True):
            self._finish(handle, portion, result)
        if self._store_up is False:
            log.info("store_back", calls=len(portions))
        self._store_up = True
        return True

    async def _write(self, changes: list[Change]) -> list[WriteResult]:
        """Write changes, each alone if the store raises the unexpected.

        A change about which it does so is refused, and the others are written.
        """
        try:
            return await self._store.write(changes)
        except (StoreError, TimeoutError):
            raise
        except Exception:  # it must end neither the process nor the records of other calls
            if len(changes) == 1:
                log.exception("record_refused", call_id=changes[0].call_id)
                return [WriteResult.REFUSED]
        return [result for (result,) in await gather_all(self._write([change]) for change in changes)]

    def _finish(self, handle: RecordHandle, portion: Portion, result: WriteResult) -> None:
        """Do what follows from the result of a write."""
        if result is WriteResult.WRITTEN:
            handle.drop_confirmed(portion.entries.values())
            handle.unwritten.finish(portion.up_to)
            return
        handle.unwritten.put_back(portion)  # what was refused is tried again with the call's next change
        if result is WriteResult.STALE:
            self._supersede(handle)

    async def _keep_opening(self) -> None:
        while True:
            await self._any_unopened.wait()
            if not await self._open_all():
                await asyncio.sleep(RETRY_SECONDS)

    async def _open_all(self) -> bool:
        """Open the records that could not be opened in time.

        Returns False when some still can't be.
        """
        self._any_unopened.clear()
        opened = await gather_all(self._open_late(handle) for handle in self._unopened)
        return all(opened)

    async def _open_late(self, handle: RecordHandle) -> bool:
        """Open a record that could not be opened in time.

        Returns False when that is to be tried again.
        """
        try:
            async with asyncio.timeout(STORE_SECONDS):
                ours = await self._is_ours(handle)
        except (StoreError, TimeoutError) as error:
            self._any_unopened.set()
            if self._store_up is None:  # else it may be this record alone, and the next write shows
                self._note_failure(error)
            self._trim()
            return False
        except Exception:  # this call goes on without a record until its next change, and holds up no other
            log.exception("record_unreadable", call_id=handle.record.call_id)
            self._unopened.pop(handle, None)
            return True
        self._unopened.pop(handle, None)
        if ours:
            self.enqueue(handle)
            self.hurry()
        else:
            self._supersede(handle)
        return True

    async def _is_ours(self, handle: RecordHandle) -> bool:
        """Open and merge a record.

        Returns False when the call has another owner, or has ended.
        """
        record = handle.record
        if handle.forgotten and not record.end_reason and await self._store.read(record.call_id):
            return False  # its next owner was quicker, and must not be shut out
        return handle.merge(await self._store.open(record.call_id, record.message_id))

    def _supersede(self, handle: RecordHandle) -> None:
        """Write nothing more of a record.

        Another owner has it, or its call has ended.
        """
        log.warning(
            "record_superseded",
            call_id=handle.record.call_id,
            epoch=handle.record.epoch,
            dropped_tool_calls=list(handle.unwritten.entries),
            dropped_pieces=len(handle.unwritten.segments),
        )
        handle.supersede()

    def _note_failure(self, error: StoreError | TimeoutError) -> None:
        """Log once that the store is down.

        What waits for it is kept bounded.
        """
        if self._store_up is not False:
            self._store_up = False
            log.error("store_down", error=str(error) or "time-out", action="calls go on; what is to be written waits")
        self._trim()

    def _trim(self) -> None:
        """Drop the oldest segments beyond `MAX_SEGMENTS`.

        Their records count them.
        """
        waiting = (*self._dirty, *self._unopened)
        times = sorted(segment.at for handle in waiting for segment in handle.unwritten.segments)
        surplus = len(times) - MAX_SEGMENTS
        if surplus <= 0:
            return
        for handle in waiting:
            if dropped := handle.unwritten.drop_segments(up_to=times[surplus - 1]):
                handle.record.transcript_lost += dropped
                call_id = handle.record.call_id
                log.error("transcript_dropped", call_id=call_id, pieces=dropped, reason="the store is down")


def _portions(batch: Iterable[RecordHandle]) -> Iterator[tuple[RecordHandle, Portion]]:
    """Take what is new of each record.

    A record that can't be made into JSON is left out, and holds up no other.
    """
    for handle in batch:
        if not handle.stale:
            try:
                yield handle, handle.unwritten.take(handle.record)
            except Exception:  # it may hold whatever an agent or OpenAI has put there
                log.exception("record_refused", call_id=handle.record.call_id)


async def _wait_at_most(seconds: float, event: asyncio.Event) -> None:
    """Wait for an event, or until the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
