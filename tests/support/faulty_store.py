"""A store of records in memory that fails in every way in which a real one can."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from enum import Enum

from supervisor.records.record import ENTRY, SEGMENT, CallRecord
from supervisor.records.store import Change, StoreError, WriteResult


class Mode(Enum):
    """How it answers."""

    WELL = "it does what it should"
    DOWN = "it does nothing, and fails"
    IN_DOUBT = "it does what it should, and fails all the same"


class FaultyStore:
    """A `Store`. It counts what it is asked, and holds back its answers while `answering` is not set."""

    def __init__(self) -> None:
        self.mode = Mode.WELL
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked = asyncio.Event()
        self.written = asyncio.Event()
        self.batches: list[list[str]] = []
        """The ids of the calls in each."""
        self.opened: list[str] = []
        """The calls whose records were to be opened, whatever came of it."""
        self.under_way = self.most_under_way = 0
        self.refused: set[str] = set()
        """Calls whose changes it refuses."""
        self.unreadable: set[str] = set()
        self.unopenable: set[str] = set()
        """Calls whose records it can't open, though it is up."""
        self.odd: set[str] = set()
        """Calls about which it raises what no store should."""
        self.hanging: set[str] = set()
        """Calls whose records it never opens."""
        self.closed = False
        self._records: dict[str, CallRecord] = {}

    async def open(self, call_id: str, message_id: str) -> CallRecord:
        """Open a record, as `Store.open` does."""
        self.opened.append(call_id)
        await self._answer()
        if call_id in self.hanging:
            await asyncio.Event().wait()
        if call_id in self.unopenable:
            raise StoreError("not this one")
        if call_id in self.odd:
            raise OverflowError("too large")
        if call_id in self.unreadable:
            raise ValueError("not a record")
        record = self._records.setdefault(call_id, CallRecord(call_id=call_id, message_id=message_id, epoch=0))
        if record.may_be_opened_by(message_id):
            record.epoch += 1
        self._end()
        return replace(deepcopy(record), transcript=[])

    async def write(self, changes: Sequence[Change]) -> list[WriteResult]:
        """Write changes, as `Store.write` does."""
        self.batches.append([change.call_id for change in changes])
        await self._answer()
        if any(change.call_id in self.odd for change in changes):
            raise OverflowError("too large")
        fates = [self._write(change) for change in changes]
        self._end()
        self.written.set()
        return fates

    async def read(self, call_id: str) -> CallRecord | None:
        """Read a record, as `Store.read` does."""
        await self._answer()
        return self.look(call_id) if call_id in self._records else None

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True

    def look(self, call_id: str) -> CallRecord:
        """Return what it has, whether it answers or not."""
        return deepcopy(self._records[call_id])

    async def _answer(self) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.asked.set()
        try:
            await asyncio.sleep(0)  # a real one never answers at once
            await self.answering.wait()
        finally:
            self.under_way -= 1
        if self.mode is Mode.DOWN:
            raise StoreError("down")

    def _end(self) -> None:
        if self.mode is Mode.IN_DOUBT:
            raise StoreError("in doubt")

    def _write(self, change: Change) -> WriteResult:
        record = self._records.get(change.call_id)
        if record is None or record.epoch != change.epoch:
            return WriteResult.STALE
        if change.call_id in self.refused:
            return WriteResult.REFUSED
        journal, transcript = record.journal, record.transcript
        journal |= {key: ENTRY.validate_json(entry) for key, entry in change.journal.items()}
        places = {segment.item_id: place for place, segment in enumerate(transcript)}
        for item_id, text in change.segments.items():
            segment = SEGMENT.validate_json(text)
            if item_id in places:
                transcript[places[item_id]] = segment
            else:
                transcript.append(segment)
        self._records[change.call_id] = CallRecord.of_head(change.head)
        self._records[change.call_id].journal, self._records[change.call_id].transcript = journal, transcript
        return WriteResult.WRITTEN
