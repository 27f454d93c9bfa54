"""Records for tests: a writer that runs, handles of it, and what is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from supervisor.records.handle import RecordHandle
from supervisor.records.record import ENTRY, JournalEntry, Segment
from supervisor.records.writer import RecordWriter
from tests.support.faulty_store import FaultyStore, Mode

SOON = 5.0
NOT_YET = 0.02


@asynccontextmanager
async def running(record_writer: RecordWriter) -> AsyncIterator[None]:
    """Run a writer until the block is left."""
    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        writing = group.create_task(record_writer.run(), name="write records")
        yield
        writing.cancel()


async def open_record(record_writer: RecordWriter, call_id: str = "call", message_id: str = "message") -> RecordHandle:
    """Open a record."""
    return await record_writer.open(call_id, message_id, within_seconds=SOON)


async def open_late(store: FaultyStore, record_writer: RecordWriter, call_id: str = "call") -> RecordHandle:
    """Give a handle that was made while the store was down; it is up again now."""
    store.mode = Mode.DOWN
    handle = await open_record(record_writer, call_id)
    store.mode = Mode.WELL
    assert handle.provisional
    return handle


def entry(tool_call_id: str, **more: str) -> JournalEntry:
    """Make a journal entry."""
    return ENTRY.validate_python({"tool_call_id": tool_call_id, "name": "pay", "arguments": "{}", **more})


def said(item_id: str, at: float = 0.0) -> Segment:
    """Make a segment of a transcript."""
    return Segment(item_id=item_id, role="agent", text="Hello", at=at)
