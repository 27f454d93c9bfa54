"""A record writer that does not wait, on a store in memory."""

from __future__ import annotations

import pytest

from supervisor.records import writer
from supervisor.records.writer import RecordWriter
from tests.support.faulty_store import FaultyStore


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WRITE_BEHIND_SECONDS", 0.01)
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def record_writer(store: FaultyStore) -> RecordWriter:
    return RecordWriter(store)
