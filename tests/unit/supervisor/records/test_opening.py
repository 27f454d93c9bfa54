"""Which store a URL names."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import StartupError
from supervisor.records.opening import open_store
from supervisor.records.sqlite import SqliteStore


async def test_a_file(tmp_path: Path) -> None:
    """`sqlite:PATH` is a file, which is made."""
    store = open_store(f"sqlite:{tmp_path}/calls.db", project="shop")
    assert isinstance(store, SqliteStore)
    await store.close()
    assert (tmp_path / "calls.db").exists()


@pytest.mark.parametrize("url", ["", "sqlite", "sqlite:", "postgres://db", "Firestore:"])
def test_what_is_no_store(url: str) -> None:
    """Any other URL is refused in one line, with the ways to write it."""
    with pytest.raises(StartupError, match="write it as sqlite:PATH, firestore: or firestore:DATABASE") as raised:
        open_store(url, project="shop")
    assert "\n" not in str(raised.value)
