"""A process that writes a call's record and says of each tool call when it is durable: `record_writer URL CALL_ID`."""

from __future__ import annotations

import asyncio
import itertools
import sys

from supervisor.records import JournalEntry, Recorder, Segment, open_store


async def write_forever(url: str, call_id: str) -> None:
    recorder = Recorder(open_store(url, project="unused"))
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.run(), name="write records")
        recording = await recorder.claim(call_id, "message", within_seconds=5)
        for number in itertools.count(1):
            name = f"{call_id}-{number}"
            recording.record.state["kept"] = number
            recording.journal(JournalEntry(tool_call_id=name, name="pay", arguments="{}"))
            recording.said(Segment(item_id=name, role="agent", text="Done.", at=number))
            if await recording.flush(5):
                print(name, flush=True)  # noqa: T201 - what its reader waits for


if __name__ == "__main__":
    asyncio.run(write_forever(*sys.argv[1:]))
