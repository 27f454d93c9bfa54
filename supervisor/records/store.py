"""The interface of a store of records, and what is written to one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from supervisor.errors import SidebandError
from supervisor.records.record import ENTRY, SEGMENT, CallRecord, JournalEntry, Segment

T = TypeVar("T")

RETENTION_DAYS = 30  # after a record's last change


class StoreError(SidebandError):
    """The store is down, or too slow."""


@dataclass(frozen=True, slots=True)
class Change:
    """Hold what is new in one record, as JSON.

    Nobody can change it while it is written.
    """

    call_id: str
    epoch: int
    head: str
    """The record without its parts; it replaces the one before."""
    journal: Mapping[str, str]
    """New and changed entries, by tool call id; one that is replaced keeps its place."""
    segments: Mapping[str, str]
    """New and changed segments, by item id; the same holds for them."""

    @classmethod
    def of(cls, record: CallRecord, journal: Iterable[JournalEntry] = (), segments: Iterable[Segment] = ()) -> Change:
        """Make the change that writes a record's head and these parts.

        Raises:
            ValueError: something in it is not JSON.
        """
        return cls(
            call_id=record.call_id,
            epoch=record.epoch,
            head=record.head(),
            journal={entry.tool_call_id: ENTRY.dump_json(entry, warnings=False).decode() for entry in journal},
            segments={segment.item_id: SEGMENT.dump_json(segment, warnings=False).decode() for segment in segments},
        )

    @property
    def bytes(self) -> int:
        """Count its bytes as UTF-8."""
        parts = (self.head, *self.journal.values(), *self.segments.values())
        return sum(len(part.encode()) for part in parts)


class WriteResult(Enum):
    """Say what a store did with a change."""

    WRITTEN = "it is written, durably"
    STALE = "another owner has opened the record since; nothing of the change is written"
    REFUSED = "the store will never take it, most likely because it is too large; nothing of it is written"


class Store(Protocol):
    """Keep records.

    Every method raises `StoreError` when the store is down or too slow.

    Anything else that a method raises is about what it was given, and costs that record alone.
    """

    async def open(self, call_id: str, message_id: str) -> CallRecord:
        """Open a record for a new owner, atomically.

        It comes without its transcript.

        A new record has epoch 1; the epoch of one that exists is raised, which shuts out the last owner. A record that
        another message owns, or that has ended, is returned as it is.

        Raises:
            ValueError: something else is in its place, such as a record of a later version.
        """

    async def write(self, changes: Sequence[Change]) -> list[WriteResult]:
        """Write each change wholly or not at all.

        Returns the result of each.

        When it raises, any of them may be written.
        """

    async def read(self, call_id: str) -> CallRecord | None:
        """Read a whole record; None where there is none."""

    async def close(self) -> None:
        """Close the store, and what it has open."""


async def gather_all(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all jobs at once, to the end of each.

    Then the first failure is raised.

    `asyncio.gather` raises at once, and leaves the others running with nobody waiting for them.
    """
    results = await asyncio.gather(*jobs, return_exceptions=True)
    return [_unless_raised(result) for result in results]


def _unless_raised(result: T | BaseException) -> T:
    if isinstance(result, BaseException):
        raise result
    return result
