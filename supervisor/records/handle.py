"""One call's record, as its owner has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from supervisor.records.merge import merge_in_place
from supervisor.records.record import CallRecord, JournalEntry, Segment
from supervisor.records.unwritten import Unwritten

log = structlog.get_logger()


class Writer(Protocol):
    """What a handle needs of the record writer."""

    def enqueue(self, handle: RecordHandle) -> None:
        """Write what is new in a record soon."""

    def hurry(self) -> None:
        """Write what is queued at once."""


@dataclass(eq=False, slots=True)
class RecordHandle:
    """Hold one call's record for its owner.

    The owner changes `record`, and then calls `changed`.

    The record writer works on `unwritten`, and tells the owner by `merge` and `supersede`.
    """

    record: CallRecord
    provisional: bool
    """Whether the record is not open yet, since the store is down or slow; the writer tries until it is."""
    _writer: Writer = field(repr=False)
    on_stale: Callable[[], None] = field(default=lambda: None, repr=False)
    """Called when another owner has opened the record, or the call has ended: nothing more of ours is written."""
    on_merged: Callable[[], None] = field(default=lambda: None, repr=False)
    """Called when the record was opened late, and holds what earlier owners did."""
    stale: bool = False
    """Whether nothing more of this record will be written, for one of the reasons of `on_stale`."""
    forgotten: bool = False
    """Whether its owner has let go of it."""
    unwritten: Unwritten = field(default_factory=Unwritten, repr=False)

    def changed(self) -> None:
        """Have the record written soon, since it has changed."""
        self.unwritten.changes += 1
        if not self.stale:
            self._writer.enqueue(self)

    def journal(self, entry: JournalEntry) -> None:
        """Put an entry into the journal, or replace it."""
        self.record.journal[entry.tool_call_id] = entry
        self.unwritten.entries[entry.tool_call_id] = entry
        self.changed()

    def said(self, segment: Segment) -> None:
        """Add a segment to the transcript."""
        self.unwritten.segments.append(segment)
        self.changed()

    def hurry(self) -> None:
        """Have what is queued written at once."""
        self._writer.hurry()

    async def flush(self, within_seconds: float) -> bool:
        """Wait until everything is written.

        Returns False when that is not certain in time.

        What is not written then stays queued.
        """
        if not self.stale and not self.unwritten.empty:
            written = self.unwritten.when_written()
            self._writer.hurry()
            await asyncio.wait([written], timeout=within_seconds)
            return written.done() and not self.stale
        return not self.stale

    def drop_confirmed(self, entries: Iterable[JournalEntry]) -> None:
        """Drop entries that are confirmed and stored, to save memory.

        OpenAI has shown that it has the output of a confirmed one, so that nothing is left to do for it.
        """
        for entry in entries:
            if entry.confirmed and entry.tool_call_id not in self.unwritten.entries:
                self.record.journal.pop(entry.tool_call_id, None)

    def forget(self) -> None:
        """Let go of the record; what is queued is still written.

        Neither `on_stale` nor `on_merged` is called any more.
        """
        self.on_stale = self.on_merged = lambda: None
        self.forgotten = True
        # Once, here: at each write it would cost more than the write.
        if changed := self.record.changed_by_json():
            keys, action = sorted(map(str, changed)), "other owners get what JSON makes of it"
            log.warning("state_changes_in_json", call_id=self.record.call_id, keys=keys, action=action)

    def merge(self, stored: CallRecord) -> bool:
        """Merge a record that was opened late with the store's.

        Returns False if the call is not ours: another message owns it, or it has ended.
        """
        self.provisional = False
        if not stored.may_be_opened_by(self.record.message_id):
            return False
        merge_in_place(self.record, stored)
        self.unwritten.keep_only(self.record.journal)
        self.on_merged()
        return True

    def supersede(self) -> None:
        """Give the record up, and tell its owner.

        Another owner has opened it, or the call has ended.
        """
        self.stale = True
        self.unwritten.finish(self.unwritten.changes)
        self.on_stale()
