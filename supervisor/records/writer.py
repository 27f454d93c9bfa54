"""Writing records behind: calls change theirs at once, the store learns of it in batches.

One batch is under way at a time, for all calls of the process together, so that 500 calls that flush at once cost one
transaction. Changes that nobody waits for go within `WRITE_BEHIND_SECONDS`. While the store is down they wait here:
heads and journals of the calls in hand, which can't grow much, and `MOST_SEGMENTS` pieces of transcript, beyond which
the oldest are dropped, counted in their record, and reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress

import structlog

from supervisor.records.handle import RecordHandle, Taken
from supervisor.records.record import CallRecord
from supervisor.records.store import Change, Fate, Store, StoreError, together

log = structlog.get_logger()

WRITE_BEHIND_SECONDS = 0.5
STORE_SECONDS = 5.0  # for one batch; a store that takes longer counts as down
RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 0.1  # between tries when the process is about to end
MOST_SEGMENTS = 10_000


class RecordWriter:
    """Writes the records of all calls of one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dirty: dict[RecordHandle, None] = {}
        self._any_dirty = asyncio.Event()
        self._unopened: dict[RecordHandle, None] = {}
        """With something to write, as soon as their claims could be made."""
        self._any_unopened = asyncio.Event()
        self._hurry = asyncio.Event()
        self._answers: bool | None = None
        """Whether the store does; None until that is known."""

    async def claim(self, call_id: str, message_id: str, *, within_seconds: float) -> RecordHandle:
        """Open a call's record for its new owner. A store that is down or slow delays nobody longer than that."""
        try:
            async with asyncio.timeout(within_seconds):
                return RecordHandle(await self._store.claim(call_id, message_id), provisional=False, _writer=self)
        except (StoreError, TimeoutError, ValueError) as error:
            log.error("record_not_opened", call_id=call_id, error=str(error) or "time-out", action="served without it")
        except Exception:
            log.exception("record_not_opened", call_id=call_id, action="served without it")
        unknown = CallRecord(call_id=call_id, message_id=message_id, epoch=0)
        return RecordHandle(unknown, provisional=True, _writer=self)

    def enqueue(self, handle: RecordHandle) -> None:
        """There is something to write of this call."""
        if handle.provisional:
            self._unopened[handle] = None
            self._any_unopened.set()
        else:
            self._dirty[handle] = None
            self._any_dirty.set()

    def hurry(self) -> None:
        """Somebody waits for what is queued."""
        self._hurry.set()

    async def run(self) -> None:
        """Write what is queued, until cancelled. What can't be opened yet is tried beside, so that no other waits."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_opening(), name="open records")
            while True:
                await self._any_dirty.wait()
                await _wait_at_most(WRITE_BEHIND_SECONDS, self._hurry)
                if not await self._write_batch():
                    await asyncio.sleep(RETRY_SECONDS)

    async def close(self, within_seconds: float) -> None:
        """Write what is left, and let go of the store."""
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
        """Write all that is queued, in one go; False when the store did not take it, and all of it is queued again."""
        self._any_dirty.clear()
        self._hurry.clear()
        batch, self._dirty = self._dirty, {}
        taken = list(_take(batch))
        if not taken:
            return True
        try:
            async with asyncio.timeout(STORE_SECONDS):
                fates = await self._write([one.change for one in taken])
        except BaseException as error:
            for one in taken:
                one.put_back()
            self._dirty = {handle: None for handle in (*batch, *self._dirty) if not handle.stale}
            self._any_dirty.set()
            if not isinstance(error, StoreError | TimeoutError):
                raise
            self._note_failure(error)
            return False
        for one, fate in zip(taken, fates, strict=True):
            self._settle(one, fate)
        if self._answers is False:
            log.info("store_back", calls=len(taken))
        self._answers = True
        return True

    async def _write(self, changes: list[Change]) -> list[Fate]:
        """Write changes at once; when the store raises what it should not, each alone, and refuse those it is about."""
        try:
            return await self._store.write(changes)
        except (StoreError, TimeoutError):
            raise
        except Exception:  # it must end neither the process nor the records of other calls
            if len(changes) == 1:
                log.exception("record_refused", call_id=changes[0].call_id)
                return [Fate.REFUSED]
        return [fate for (fate,) in await together(self._write([change]) for change in changes)]

    async def _keep_opening(self) -> None:
        while True:
            await self._any_unopened.wait()
            if not await self._open_all():
                await asyncio.sleep(RETRY_SECONDS)

    async def _open_all(self) -> bool:
        """Make the claims that could not be made in time, each for itself; False when some still can't be made."""
        self._any_unopened.clear()
        opened = await together(self._open(handle) for handle in self._unopened)
        return all(opened)

    async def _open(self, handle: RecordHandle) -> bool:
        """Make the claim that could not be made in time; False when it is to be tried again."""
        try:
            async with asyncio.timeout(STORE_SECONDS):
                ours = await self._claim_late(handle)
        except (StoreError, TimeoutError) as error:
            self._any_unopened.set()
            if self._answers is None:  # else it may be this record alone, and a write will tell
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

    async def _claim_late(self, handle: RecordHandle) -> bool:
        """Whether the call is ours, now that the store has answered."""
        record = handle.record
        if handle.forgotten and not record.end_reason and await self._store.read(record.call_id):
            return False  # its next owner was quicker, and must not be shut out
        return handle.adopt(await self._store.claim(record.call_id, record.message_id))

    def _settle(self, taken: Taken, fate: Fate) -> None:
        """Do what follows from the fate of a change."""
        if fate is Fate.KEPT:
            taken.handle.kept(taken.entries.values())
            taken.handle.done(taken.upto, stale=False)
            return
        taken.put_back()
        if fate is Fate.STALE:
            self._supersede(taken.handle)
        # What was refused is tried again with the call's next change, and holds up no other call.

    def _supersede(self, handle: RecordHandle) -> None:
        """Another owner has the call, or it has ended: nothing more of ours is kept."""
        log.warning(
            "record_superseded",
            call_id=handle.record.call_id,
            epoch=handle.record.epoch,
            dropped_tool_calls=list(handle.entries),
            dropped_pieces=len(handle.segments),
        )
        handle.done(handle.changes, stale=True)

    def _note_failure(self, error: StoreError | TimeoutError) -> None:
        if self._answers is not False:
            self._answers = False
            log.error("store_down", error=str(error) or "time-out", action="calls go on; what is to be written waits")
        self._trim()

    def _trim(self) -> None:
        """Keep what waits bounded: drop the oldest pieces of transcript, and say so in their records."""
        waiting = (*self._dirty, *self._unopened)
        times = sorted(segment.at for handle in waiting for segment in handle.segments)
        surplus = len(times) - MOST_SEGMENTS
        if surplus <= 0:
            return
        for handle in waiting:
            kept = [segment for segment in handle.segments if segment.at > times[surplus - 1]]
            if dropped := len(handle.segments) - len(kept):
                handle.segments = kept
                handle.record.transcript_lost += dropped
                call_id = handle.record.call_id
                log.error("transcript_dropped", call_id=call_id, pieces=dropped, reason="the store is down")


def _take(batch: Iterable[RecordHandle]) -> Iterator[Taken]:
    """Take what is to be written. What can't be made into JSON is left out and holds up no other."""
    for handle in batch:
        if not handle.stale:
            try:
                yield handle.take()
            except Exception:  # it may hold whatever an agent or OpenAI has put there
                log.exception("record_refused", call_id=handle.record.call_id)


async def _wait_at_most(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
