"""Open the store that the setting `RECORDS` names."""

from __future__ import annotations

from supervisor.errors import StartupError
from supervisor.records.store import Store


def open_store(url: str, *, project: str) -> Store:
    """Open a store: `sqlite:PATH`, `firestore:` or `firestore:DATABASE`.

    Raises:
        StartupError: the URL is none of these, or the store can't be opened.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite" and rest:
        from supervisor.records.sqlite import SqliteStore  # noqa: PLC0415 - only what is used is loaded

        return SqliteStore.connect(rest)
    if scheme == "firestore":
        from supervisor.records.firestore import FirestoreStore  # noqa: PLC0415 - its import takes half a second

        return FirestoreStore.connect(project=project, database=rest or "(default)")
    raise StartupError(f"RECORDS={url}: write it as sqlite:PATH, firestore: or firestore:DATABASE")
