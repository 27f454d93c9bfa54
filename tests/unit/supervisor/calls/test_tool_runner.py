"""Tools and the journal: what an earlier owner has run is not run again, however late that is learnt."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from function.notice import CallNotice
from supervisor.agents.agent import Agent
from supervisor.agents.call import Call
from supervisor.calls.tool_runner import UNKNOWN, ToolRunner
from supervisor.conversation.actions import RunTool
from supervisor.records import writer as records
from supervisor.records.record import JournalEntry
from supervisor.records.writer import RecordWriter
from tests.support.faulty_store import FaultyStore, Mode

if TYPE_CHECKING:
    from supervisor.agents.call import Control
    from supervisor.claims import Claim

SOON = 5.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RETRY_SECONDS", 0.01)


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (JournalEntry("t1", "pay", "{}", started_at=1.0, finished_at=1.5, outcome="paid"), "paid"),
        (JournalEntry("t1", "pay", "{}", started_at=1.0), UNKNOWN),
        (JournalEntry("t1", "pay", "{}"), "paid again"),
    ],
    ids=["finished", "started", "written down"],
)
@pytest.mark.parametrize("learns", ["while it waits for its journal", "before it writes its journal"])
async def test_a_tool_that_a_dead_owner_ran_is_not_run_again_by_one_whose_record_was_opened_late(
    left: JournalEntry, told: str, learns: str
) -> None:
    store, ran, answered = FaultyStore(), list[str](), asyncio.Queue[tuple[str, str]]()
    agent = Agent(session={"model": "gpt-realtime-2.1"})

    @agent.tool()
    async def pay() -> str:
        """Pay."""
        ran.append("pay")
        return "paid again"

    async def answer(tool_call_id: str, output: str) -> None:
        answered.put_nowait((tool_call_id, output))

    first = RecordWriter(store)
    dead = await first.open("call", "message", within_seconds=SOON)
    dead.journal(left)
    await first.close(SOON)
    store.mode = Mode.DOWN
    record_writer = RecordWriter(store)
    handle = await record_writer.open("call", "message", within_seconds=SOON)
    store.mode = Mode.WELL
    claim = cast("Claim", SimpleNamespace(may_write=lambda: True))
    call = Call(CallNotice(call_id="call"), cast("Control", None))
    tools = ToolRunner(agent.tools, call, claim, handle, answer, cast("Any", None))
    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        writing = group.create_task(record_writer.run(), name="write records")
        tools.start(RunTool("t1", "pay", "{}"))
        if learns.startswith("before"):
            assert handle.merge(await store.open("call", "message"))
        assert await answered.get() == ("t1", told)
        await tools.finish(SOON)
        writing.cancel()
    assert ran == (["pay"] if told == "paid again" else [])
    assert store.look("call").journal["t1"].outcome == told
