"""What a store of records can do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from supervisor.errors import SidebandError
from supervisor.records.record import ENTRY, SEGMENT, CallRecord, JournalEntry, Segment

T = TypeVar("T")

KEPT_DAYS = 30  # how long a record is kept after its last change


class StoreError(SidebandError):
    """The store is down, or too slow."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is new in one call's record, as JSON, so that nobody changes it while it is being written."""

    call_id: str
    epoch: int
    head: str
    """Written whole."""
    journal: Mapping[str, str]
    """By tool call id; replaces what was there, which keeps its place."""
    segments: Mapping[str, str]
    """By item id; the same."""

    @classmethod
    def of(cls, record: CallRecord, journal: Iterable[JournalEntry] = (), segments: Iterable[Segment] = ()) -> Change:
        """A change of a record's head, and of these parts.

        Raises:
            ValueError: a part is not JSON.
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
        """Its size."""
        parts = (self.head, *self.journal.values(), *self.segments.values())
        return sum(len(part.encode()) for part in parts)


class Fate(Enum):
    """What became of a change."""

    KEPT = "it is written, durably"
    STALE = "another owner has raised the epoch; nothing of it is kept"
    REFUSED = "the store will never take it, most likely because it is too large; nothing of it is kept"


class Store(Protocol):
    """Keeps records. Every method raises `StoreError` when the store is down or too slow.

    Anything else that it raises is about what it was given, and costs that record alone.
    """

    async def claim(self, call_id: str, message_id: str) -> CallRecord:
        """Open a record for a new owner, atomically; gives it without its transcript.

        It is created with epoch 1, or its epoch is raised. A record that another message owns, or that has ended, is
        returned as it is.

        Raises:
            ValueError: there is something else in its place, such as a record of a later version.
        """

    async def write(self, changes: Sequence[Change]) -> list[Fate]:
        """Write changes, each wholly or not at all; gives the fate of each. When it raises, any may be written."""

    async def read(self, call_id: str) -> CallRecord | None:
        """The whole record, with its transcript; None where there is none."""

    async def close(self) -> None:
        """Let go of the store."""


async def together(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all of this at once. When one fails the others still come to their end; then the first failure is raised."""
    results = await asyncio.gather(*jobs, return_exceptions=True)
    return [_unless_raised(result) for result in results]


def _unless_raised(result: T | BaseException) -> T:
    if isinstance(result, BaseException):
        raise result
    return result
