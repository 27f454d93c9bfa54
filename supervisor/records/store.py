"""What a store of records can do, and which one `RECORDS` names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from supervisor.errors import SidebandError, StartupError
from supervisor.records.record import CallRecord, JournalEntry, Segment


class StoreError(SidebandError):
    """The store is down, or too slow."""


@dataclass(slots=True)
class Write:
    """What changed in one call's record."""

    record: CallRecord
    """Its head is written whole."""
    journal: dict[str, JournalEntry] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)


class Store(Protocol):
    """Keeps records. Every method raises `StoreError` when the store is down or too slow."""

    async def claim(self, call_id: str, message_id: str) -> CallRecord:
        """Open a record for a new owner, in one transaction.

        It is created with epoch 1, or its epoch is raised. A record that another message owns, or that has ended, is
        returned as it is.
        """

    async def write(self, writes: Sequence[Write]) -> set[str]:
        """Write changes, durably; returns the ids of calls whose epoch another has raised: nothing of those is kept."""

    async def read(self, call_id: str) -> CallRecord | None:
        """The whole record, with its transcript; None where there is none."""

    async def close(self) -> None:
        """Let go of the store."""


def open_store(url: str, *, project: str) -> Store:
    """Open the store that `RECORDS` names: `sqlite:PATH`, `firestore:` or `firestore:DATABASE`.

    Raises:
        StartupError: the URL is none of these, or the store can't be opened.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        from supervisor.records.sqlite import SqliteStore  # noqa: PLC0415 - only what is used is loaded

        return SqliteStore.open(rest)
    if scheme == "firestore":
        from supervisor.records.firestore import FirestoreStore  # noqa: PLC0415 - its import takes half a second

        return FirestoreStore.open(project=project, database=rest or "(default)")
    raise StartupError(f"RECORDS={url}: write it as sqlite:PATH, firestore: or firestore:DATABASE")
