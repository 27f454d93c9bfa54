"""What the store does not have yet of a record.

It is the writer's side of a handle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import structlog

from supervisor.records.record import CallRecord, JournalEntry, Segment
from supervisor.records.store import Change

log = structlog.get_logger()


class Portion(NamedTuple):
    """Hold what one batch takes of one record."""

    change: Change
    entries: dict[str, JournalEntry]
    segments: list[Segment]
    up_to: int
    """The number of the last change in it."""


@dataclass(slots=True)
class Unwritten:
    """Queue what is new in one record.

    Those who wait until it is written are woken then.
    """

    entries: dict[str, JournalEntry] = field(default_factory=dict)
    """New and changed entries of the journal, by tool call id."""
    segments: list[Segment] = field(default_factory=list)
    """New segments of the transcript."""
    changes: int = 0
    """How often the record has changed."""
    _written: int = 0
    """How many of these changes the store has, or never will have."""
    _waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)
    _left_out: frozenset[str] = frozenset()
    """Keys of the agent's state that are not JSON, and were logged."""

    @property
    def empty(self) -> bool:
        """Tell whether the store has every change."""
        return self._written >= self.changes

    def when_written(self) -> asyncio.Future[None]:
        """Return a future that is done when all so far is written.

        It is done, too, when nothing more of the record will be written.
        """
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self.changes, written))
        return written

    def take(self, record: CallRecord) -> Portion:
        """Take all that is queued, to write it.

        Raises:
            ValueError: it is not JSON, such as half an emoji in what was said.
        """
        try:
            change = Change.of(record, self.entries.values(), self.segments)
        except ValueError:
            change = Change.of(self._without_wrong_state(record), self.entries.values(), self.segments)
        portion = Portion(change, self.entries, self.segments, self.changes)
        self.entries, self.segments = {}, []
        return portion

    def _without_wrong_state(self, record: CallRecord) -> CallRecord:
        """Copy the record without the state that is not JSON.

        Each key that is left out is logged once.
        """
        wrong = record.not_json()
        if wrong - self._left_out:
            keys = sorted(map(str, wrong))
            log.error("state_not_json", call_id=record.call_id, keys=keys, action="lost with this process")
        self._left_out = wrong
        return replace(record, state={key: record.state[key] for key in record.state if key not in wrong})

    def put_back(self, portion: Portion) -> None:
        """Queue a portion again that was not written.

        What has changed since stays as it is.
        """
        self.entries = {**portion.entries, **self.entries}
        self.segments = [*portion.segments, *self.segments]

    def finish(self, up_to: int) -> None:
        """Wake those who wait for changes up to this one.

        The store has these changes, or never will have.
        """
        self._written = up_to
        for change, written in self._waiting:
            if change <= up_to and not written.done():
                written.set_result(None)
        self._waiting = [(change, written) for change, written in self._waiting if change > up_to]

    def keep_only(self, journal: Mapping[str, JournalEntry]) -> None:
        """Drop the entries that the journal has replaced by others."""
        self.entries = {id_: entry for id_, entry in self.entries.items() if journal.get(id_, entry) is entry}

    def drop_segments(self, up_to: float) -> int:
        """Drop the segments up to a Unix time.

        Returns how many these were.
        """
        before = len(self.segments)
        self.segments = [segment for segment in self.segments if segment.at > up_to]
        return before - len(self.segments)
