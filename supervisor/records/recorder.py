"""Writing records behind: calls change theirs at once, the store learns of it in batches.

One batch is under way at a time, for all calls of the process together, so that 500 calls that flush at once cost one
transaction. Changes that nobody waits for go within `WRITE_BEHIND_SECONDS`. While the store is down they wait here:
heads and journals of the calls in hand, which can't grow much, and `MOST_SEGMENTS` pieces of transcript, beyond which
the oldest are dropped, counted in their record, and reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from supervisor.records.record import CallRecord, JournalEntry, Segment
from supervisor.records.store import Store, StoreError, Write

log = structlog.get_logger()

WRITE_BEHIND_SECONDS = 0.5
STORE_SECONDS = 5.0  # for one batch; a store that takes longer counts as down
RETRY_SECONDS = 1.0
MOST_SEGMENTS = 10_000


@dataclass(eq=False, slots=True)
class Recording:
    """One call's record, as its owner has it. Change `record`, then say so."""

    record: CallRecord
    provisional: bool
    """Whether the store could not be asked yet; it is asked again until it answers."""
    _recorder: Recorder = field(repr=False)
    on_stale: Callable[[], None] = field(default=lambda: None, repr=False)
    """Called when another owner has raised the epoch, or the call has ended: nothing more of ours is kept."""
    stale: bool = False
    pending: Write | None = None
    changes: int = 0
    """How often the record has changed; `_written` of these are in the store."""
    _written: int = 0
    _waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)

    def changed(self) -> None:
        """The head has changed."""
        self._change()

    def journal(self, entry: JournalEntry) -> None:
        """Put an entry into the journal, or replace it."""
        self.record.journal[entry.tool_call_id] = entry
        self._change().journal[entry.tool_call_id] = entry

    def said(self, segment: Segment) -> None:
        """Add a piece to the transcript."""
        self._change().segments.append(segment)

    async def flush(self, within_seconds: float) -> bool:
        """Have everything written; False when that is not certain in time. What is not written stays queued."""
        if self._written < self.changes and not self.stale:
            written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((self.changes, written))
            self._recorder.hurry()
            await asyncio.wait([written], timeout=within_seconds)
            return written.done() and not self.stale
        return not self.stale

    def forget(self) -> None:
        """This process is done with the call; what is not written yet still will be."""
        self.on_stale = lambda: None

    def _change(self) -> Write:
        self.changes += 1
        if self.pending is None:
            self.pending = Write(self.record)
        if not self.stale:
            self._recorder.enqueue(self)
        return self.pending

    # For the recorder alone.

    def take(self) -> tuple[Write, int]:
        """What is to be written now, and which change is the last in it."""
        write, self.pending = self.pending or Write(self.record), None
        return write, self.changes

    def put_back(self, write: Write) -> None:
        """A write failed: it goes with the next one."""
        if self.pending is not None:
            write.journal.update(self.pending.journal)
            write.segments.extend(self.pending.segments)
        self.pending = write

    def done(self, upto: int, *, stale: bool) -> None:
        """Everything up to this change is in the store, or never will be."""
        self._written = upto
        self.stale = self.stale or stale
        late = [(change, future) for change, future in self._waiting if change > upto and not self.stale]
        for change, future in self._waiting:
            if (change, future) not in late and not future.done():
                future.set_result(None)
        self._waiting = late
        if stale:
            self.on_stale()

    def adopt(self, stored: CallRecord) -> bool:
        """The store has answered at last: go on with its epoch and what it knew; False if the call is not ours."""
        self.provisional = False
        if stored.message_id != self.record.message_id or stored.end_reason:
            return False
        self.record.epoch = stored.epoch
        for entry in stored.journal.values():
            self.record.journal.setdefault(entry.tool_call_id, entry)
        for name in ("heard_at", "accepted_at", "attached_at", "greeted_at"):
            setattr(self.record, name, getattr(stored, name) or getattr(self.record, name))
        return True


class Recorder:
    """Writes the records of all calls of one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dirty: dict[Recording, None] = {}
        self._any_dirty = asyncio.Event()
        self._hurry = asyncio.Event()
        self._down = False

    async def claim(self, call_id: str, message_id: str, *, within_seconds: float) -> Recording:
        """Open a call's record for its new owner. A store that is down or slow delays nobody longer than that."""
        try:
            async with asyncio.timeout(within_seconds):
                return Recording(await self._store.claim(call_id, message_id), provisional=False, _recorder=self)
        except (StoreError, TimeoutError) as error:
            log.error("record_not_opened", call_id=call_id, error=str(error) or "time-out", action="served without it")
            unknown = CallRecord(call_id=call_id, message_id=message_id, epoch=0)
            return Recording(unknown, provisional=True, _recorder=self)

    def enqueue(self, recording: Recording) -> None:
        """There is something to write of this call."""
        self._dirty[recording] = None
        self._any_dirty.set()

    def hurry(self) -> None:
        """Somebody waits for what is queued."""
        self._hurry.set()

    async def run(self) -> None:
        """Write what is queued, until cancelled."""
        while True:
            await self._any_dirty.wait()
            await _wait_at_most(WRITE_BEHIND_SECONDS, self._hurry)
            if not await self._write_batch():
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self, within_seconds: float) -> None:
        """Write what is left, and let go of the store."""
        written = False
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while self._dirty and not written:
                    written = await self._write_batch()
        if self._dirty:
            log.error("records_not_written", calls=[recording.record.call_id for recording in self._dirty])
        await self._store.close()

    async def _write_batch(self) -> bool:
        """Write all that is queued, in one go; False when the store did not take it, and all of it is queued again."""
        self._any_dirty.clear()
        self._hurry.clear()
        batch, self._dirty = list(self._dirty), {}
        taken: list[tuple[Recording, Write, int]] = []
        try:
            async with asyncio.timeout(STORE_SECONDS):
                ours = [recording for recording in batch if await self._open(recording)]
                taken = [(recording, *recording.take()) for recording in ours]
                stale = await self._store.write([write for _, write, _ in taken]) if taken else set()
        except BaseException as error:
            for recording, write, _ in taken:
                recording.put_back(write)
            for recording in batch:
                if not recording.stale:
                    self.enqueue(recording)
            if not isinstance(error, StoreError | TimeoutError):
                raise
            self._note_failure(error)
            return False
        for recording, _, upto in taken:
            recording.done(upto, stale=recording.record.call_id in stale)
        if self._down:
            self._down = False
            log.info("store_back", calls=len(taken))
        return True

    async def _open(self, recording: Recording) -> bool:
        """Make the claim that could not be made; whether the call is ours."""
        if recording.provisional:
            stored = await self._store.claim(recording.record.call_id, recording.record.message_id)
            if not recording.adopt(stored):
                recording.done(recording.changes, stale=True)
        return not recording.stale

    def _note_failure(self, error: StoreError | TimeoutError) -> None:
        if not self._down:
            self._down = True
            log.error("store_down", error=str(error) or "time-out", action="calls go on; what is to be written waits")
        self._trim()

    def _trim(self) -> None:
        """Keep what waits bounded: drop the oldest pieces of transcript, and say so in their records."""
        waiting = [write for recording in self._dirty if (write := recording.pending)]
        surplus = sum(len(write.segments) for write in waiting) - MOST_SEGMENTS
        for write in waiting:
            if surplus <= 0:
                return
            dropped = min(surplus, len(write.segments))
            del write.segments[:dropped]
            surplus -= dropped
            write.record.transcript_lost += dropped
            log.error("transcript_dropped", call_id=write.record.call_id, pieces=dropped, reason="the store is down")


async def _wait_at_most(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
