"""A process that writes a call's record, and prints which tool calls are durable: `record_writer URL CALL_ID`."""

from __future__ import annotations

import asyncio
import itertools
import sys

from supervisor.records.opening import open_store
from supervisor.records.record import JournalEntry, Segment
from supervisor.records.writer import RecordWriter


async def write_forever(url: str, call_id: str) -> None:
    """Write to a call's record without end, and print the id of each tool call that is durable."""
    record_writer = RecordWriter(open_store(url, project="unused"))
    async with asyncio.TaskGroup() as group:
        group.create_task(record_writer.run(), name="write records")
        handle = await record_writer.open(call_id, "message", within_seconds=5)
        for number in itertools.count(1):
            name = f"{call_id}-{number}"
            handle.record.state["kept"] = number
            handle.journal(JournalEntry(tool_call_id=name, name="pay", arguments="{}"))
            handle.said(Segment(item_id=name, role="agent", text="Done.", at=number))
            if await handle.flush(5):
                print(name, flush=True)  # noqa: T201 - what its reader waits for


if __name__ == "__main__":
    asyncio.run(write_forever(*sys.argv[1:]))
