"""Tools and the journal: what an earlier owner has run is not run again, however late that is learnt."""

from __future__ import annotations

import asyncio

import pytest

from sideband import Agent
from supervisor.agents.call import Call
from supervisor.calls.call_control import AttachedCallControl
from supervisor.calls.tool_runner import UNKNOWN, ToolRunner
from supervisor.conversation.actions import RunTool
from supervisor.records import writer as records
from supervisor.records.record import JournalEntry
from supervisor.records.writer import RecordWriter
from tests.support.call_context import Frames, call_context
from tests.support.faulty_store import FaultyStore, Mode

SOON = 5.0
PAY = {
    "type": "response.output_item.done",
    "response_id": "r1",
    "item": {"type": "function_call", "status": "completed", "call_id": "t1", "name": "pay", "arguments": "{}"},
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RETRY_SECONDS", 0.01)


@pytest.mark.parametrize(
    ("left", "output"),
    [
        (JournalEntry("t1", "pay", "{}", started_at=1.0, finished_at=1.5, outcome="paid"), "paid"),
        (JournalEntry("t1", "pay", "{}", started_at=1.0), UNKNOWN),
        (JournalEntry("t1", "pay", "{}"), "paid again"),
    ],
    ids=["finished", "started", "written down"],
)
@pytest.mark.parametrize("learns", ["while it waits for its journal", "before it writes its journal"])
async def test_a_tool_is_not_run_twice(left: JournalEntry, output: str, learns: str) -> None:
    """What a dead owner ran is not run again by one whose record was opened late."""
    store, ran = FaultyStore(), list[str]()
    agent = Agent(session={"model": "gpt-realtime-2.1"})

    @agent.tool()
    async def pay() -> str:
        """Pay."""
        ran.append("pay")
        return "paid again"

    first = RecordWriter(store)
    dead = await first.open("call", "message", within_seconds=SOON)
    dead.journal(left)
    await first.close(SOON)
    store.mode = Mode.DOWN
    record_writer = RecordWriter(store)
    handle = await record_writer.open("call", "message", within_seconds=SOON)
    store.mode = Mode.WELL
    context = call_context(agent, handle, frames := Frames())
    control = AttachedCallControl(context)
    tools = ToolRunner(context, Call(context.notice, control), control)
    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        writing = group.create_task(record_writer.run(), name="write records")
        (run_tool,) = context.conversation.receive(PAY)
        assert isinstance(run_tool, RunTool)
        tools.start(run_tool)
        if learns.startswith("before"):
            assert handle.merge(await store.open("call", "message"))
        assert (await frames.next())["item"]["output"] == output
        await tools.finish(SOON)
        writing.cancel()
    assert ran == (["pay"] if output == "paid again" else [])
    assert store.look("call").journal["t1"].outcome == output
