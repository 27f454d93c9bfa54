"""Writing records behind: calls change theirs at once, the store learns of it in batches.

One batch is under way at a time, for all calls of the process together, so that 500 calls that flush at once cost one
transaction. Changes that nobody waits for go within `WRITE_BEHIND_SECONDS`. While the store is down they wait here:
heads and journals of the calls in hand, which can't grow much, and `MOST_SEGMENTS` pieces of transcript, beyond which
the oldest are dropped, counted in their record, and reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import structlog

from supervisor.records.record import CallRecord, JournalEntry, Segment
from supervisor.records.store import Change, Fate, Store, StoreError, together

log = structlog.get_logger()

WRITE_BEHIND_SECONDS = 0.5
STORE_SECONDS = 5.0  # for one batch; a store that takes longer counts as down
RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 0.1  # between tries when the process is about to end
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
    on_adopted: Callable[[], None] = field(default=lambda: None, repr=False)
    """Called when the store has answered at last, and the record knows what earlier owners did."""
    stale: bool = False
    forgotten: bool = False
    changes: int = 0
    """How often the record has changed; `_written` of these are in the store."""
    entries: dict[str, JournalEntry] = field(default_factory=dict)
    """Of the journal, what is not in the store."""
    segments: list[Segment] = field(default_factory=list)
    """Of the transcript, what is not in the store."""
    _left_out: frozenset[str] = frozenset()
    """Keys of the agent's state that are not JSON, and were named in the log."""
    _written: int = 0
    _waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)

    def changed(self) -> None:
        """The head has changed."""
        self.changes += 1
        if not self.stale:
            self._recorder.enqueue(self)

    def journal(self, entry: JournalEntry) -> None:
        """Put an entry into the journal, or replace it."""
        self.record.journal[entry.tool_call_id] = entry
        self.entries[entry.tool_call_id] = entry
        self.changed()

    def said(self, segment: Segment) -> None:
        """Add a piece to the transcript."""
        self.segments.append(segment)
        self.changed()

    def hurry(self) -> None:
        """Have what is queued written at once."""
        self._recorder.hurry()

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
        self.on_stale = self.on_adopted = lambda: None
        self.forgotten = True
        # Once, here: at each write it would cost more than the write.
        if changed := self.record.changed_by_json():
            keys, action = sorted(map(str, changed)), "other owners get what JSON makes of it"
            log.warning("state_changes_in_json", call_id=self.record.call_id, keys=keys, action=action)

    # For the recorder alone.

    def take(self) -> Taken:
        """What is to be written now.

        Raises:
            ValueError: it is not JSON, such as half an emoji in what was said.
        """
        try:
            change = Change.of(self.record, self.entries.values(), self.segments)
        except ValueError:
            change = Change.of(self._mended(), self.entries.values(), self.segments)
        taken = Taken(self, change, self.entries, self.segments, self.changes)
        self.entries, self.segments = {}, []
        return taken

    def _mended(self) -> CallRecord:
        """The record without what is not JSON in its state, which is a mistake of the agent's."""
        record, wrong = self.record, self.record.not_json()
        if wrong - self._left_out:
            keys = sorted(map(str, wrong))
            log.error("state_not_json", call_id=record.call_id, keys=keys, action="lost with this process")
        self._left_out = wrong
        return replace(record, state={key: record.state[key] for key in record.state if key not in wrong})

    def kept(self, entries: Iterable[JournalEntry]) -> None:
        """These are in the store; of a tool call that OpenAI has the output of, nothing need be known here any more."""
        for entry in entries:
            if entry.confirmed and entry.tool_call_id not in self.entries:
                self.record.journal.pop(entry.tool_call_id, None)

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
        ran = {
            id_ for id_, entry in stored.journal.items() if entry.started_at is not None or entry.outcome is not None
        }
        theirs = {id_ for id_ in ran & self.record.journal.keys() if not self.record.journal[id_].idempotent}
        self.entries = {id_: entry for id_, entry in self.entries.items() if id_ not in theirs}
        ours = {id_: entry for id_, entry in self.record.journal.items() if id_ not in theirs}
        self.record.journal = {**stored.journal, **ours}  # what has happened once must not happen again
        for kept, known in ((self.record.state, stored.state), (self.record.session, stored.session)):
            kept.update({**known, **kept})  # in place: the agent holds them
        for name in ("heard_at", "accepted_at", "attached_at", "greeted_at"):
            setattr(self.record, name, getattr(stored, name) or getattr(self.record, name))
        self.record.items = max(self.record.items, stored.items)
        self.record.tokens += stored.tokens
        self.record.cost_usd += stored.cost_usd
        self.record.transcript_lost += stored.transcript_lost
        self.on_adopted()
        return True


class Taken(NamedTuple):
    """What one batch has of one call."""

    recording: Recording
    change: Change
    entries: dict[str, JournalEntry]
    segments: list[Segment]
    upto: int
    """Which change is the last in it."""

    def put_back(self) -> None:
        """It was not written: it goes with the next."""
        self.recording.entries = {**self.entries, **self.recording.entries}
        self.recording.segments = [*self.segments, *self.recording.segments]


class Recorder:
    """Writes the records of all calls of one process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dirty: dict[Recording, None] = {}
        self._any_dirty = asyncio.Event()
        self._unopened: dict[Recording, None] = {}
        """With something to write, as soon as their claims could be made."""
        self._any_unopened = asyncio.Event()
        self._hurry = asyncio.Event()
        self._answers: bool | None = None
        """Whether the store does; None until that is known."""

    async def claim(self, call_id: str, message_id: str, *, within_seconds: float) -> Recording:
        """Open a call's record for its new owner. A store that is down or slow delays nobody longer than that."""
        try:
            async with asyncio.timeout(within_seconds):
                return Recording(await self._store.claim(call_id, message_id), provisional=False, _recorder=self)
        except (StoreError, TimeoutError, ValueError) as error:
            log.error("record_not_opened", call_id=call_id, error=str(error) or "time-out", action="served without it")
        except Exception:
            log.exception("record_not_opened", call_id=call_id, action="served without it")
        unknown = CallRecord(call_id=call_id, message_id=message_id, epoch=0)
        return Recording(unknown, provisional=True, _recorder=self)

    def enqueue(self, recording: Recording) -> None:
        """There is something to write of this call."""
        if recording.provisional:
            self._unopened[recording] = None
            self._any_unopened.set()
        else:
            self._dirty[recording] = None
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
        if left := [recording.record.call_id for recording in (*self._dirty, *self._unopened)]:
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
            self._dirty = {recording: None for recording in (*batch, *self._dirty) if not recording.stale}
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
        opened = await together(self._open(recording) for recording in self._unopened)
        return all(opened)

    async def _open(self, recording: Recording) -> bool:
        """Make the claim that could not be made in time; False when it is to be tried again."""
        try:
            async with asyncio.timeout(STORE_SECONDS):
                ours = await self._claim_late(recording)
        except (StoreError, TimeoutError) as error:
            self._any_unopened.set()
            if self._answers is None:  # else it may be this record alone, and a write will tell
                self._note_failure(error)
            self._trim()
            return False
        except Exception:  # this call goes on without a record until its next change, and holds up no other
            log.exception("record_unreadable", call_id=recording.record.call_id)
            self._unopened.pop(recording, None)
            return True
        self._unopened.pop(recording, None)
        if ours:
            self.enqueue(recording)
            self.hurry()
        else:
            self._supersede(recording)
        return True

    async def _claim_late(self, recording: Recording) -> bool:
        """Whether the call is ours, now that the store has answered."""
        record = recording.record
        if recording.forgotten and not record.end_reason and await self._store.read(record.call_id):
            return False  # its next owner was quicker, and must not be shut out
        return recording.adopt(await self._store.claim(record.call_id, record.message_id))

    def _settle(self, taken: Taken, fate: Fate) -> None:
        """Do what follows from the fate of a change."""
        if fate is Fate.KEPT:
            taken.recording.kept(taken.entries.values())
            taken.recording.done(taken.upto, stale=False)
            return
        taken.put_back()
        if fate is Fate.STALE:
            self._supersede(taken.recording)
        # What was refused is tried again with the call's next change, and holds up no other call.

    def _supersede(self, recording: Recording) -> None:
        """Another owner has the call, or it has ended: nothing more of ours is kept."""
        log.warning(
            "record_superseded",
            call_id=recording.record.call_id,
            epoch=recording.record.epoch,
            dropped_tool_calls=list(recording.entries),
            dropped_pieces=len(recording.segments),
        )
        recording.done(recording.changes, stale=True)

    def _note_failure(self, error: StoreError | TimeoutError) -> None:
        if self._answers is not False:
            self._answers = False
            log.error("store_down", error=str(error) or "time-out", action="calls go on; what is to be written waits")
        self._trim()

    def _trim(self) -> None:
        """Keep what waits bounded: drop the oldest pieces of transcript, and say so in their records."""
        waiting = (*self._dirty, *self._unopened)
        times = sorted(segment.at for recording in waiting for segment in recording.segments)
        surplus = len(times) - MOST_SEGMENTS
        if surplus <= 0:
            return
        for recording in waiting:
            kept = [segment for segment in recording.segments if segment.at > times[surplus - 1]]
            if dropped := len(recording.segments) - len(kept):
                recording.segments = kept
                recording.record.transcript_lost += dropped
                call_id = recording.record.call_id
                log.error("transcript_dropped", call_id=call_id, pieces=dropped, reason="the store is down")


def _take(batch: Iterable[Recording]) -> Iterator[Taken]:
    """Take what is to be written. What can't be made into JSON is left out and holds up no other."""
    for recording in batch:
        if not recording.stale:
            try:
                yield recording.take()
            except Exception:  # it may hold whatever an agent or OpenAI has put there
                log.exception("record_refused", call_id=recording.record.call_id)


async def _wait_at_most(seconds: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
