"""One call's record, as its owner has it: change it, then say so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import structlog

from supervisor.records.record import CallRecord, JournalEntry, Segment
from supervisor.records.store import Change

log = structlog.get_logger()


class Writer(Protocol):
    """What a handle needs of the writer."""

    def enqueue(self, handle: RecordHandle) -> None:
        """Have a call's changes written soon."""

    def hurry(self) -> None:
        """Have what is queued written at once."""


@dataclass(eq=False, slots=True)
class RecordHandle:
    """One call's record, as its owner has it. Change `record`, then say so."""

    record: CallRecord
    provisional: bool
    """Whether the store could not be asked yet; it is asked again until it answers."""
    _writer: Writer = field(repr=False)
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
            self._writer.enqueue(self)

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
        self._writer.hurry()

    async def flush(self, within_seconds: float) -> bool:
        """Have everything written; False when that is not certain in time. What is not written stays queued."""
        if self._written < self.changes and not self.stale:
            written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((self.changes, written))
            self._writer.hurry()
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

    # For the writer alone.

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

    handle: RecordHandle
    change: Change
    entries: dict[str, JournalEntry]
    segments: list[Segment]
    upto: int
    """Which change is the last in it."""

    def put_back(self) -> None:
        """It was not written: it goes with the next."""
        self.handle.entries = {**self.entries, **self.handle.entries}
        self.handle.segments = [*self.segments, *self.handle.segments]
