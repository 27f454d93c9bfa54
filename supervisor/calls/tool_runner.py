"""Run a call's tools, with the journal before and after.

So no crash makes a side effect happen twice.

A tool starts when its journal entry is durable and the call is still ours; its output is sent when its outcome is
durable. There the next owner reads what was started, what came of it, and which outputs OpenAI is known to have.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

import structlog

from supervisor.agents.call import Call, running_tool_call
from supervisor.agents.tools import Tool, error_output
from supervisor.calls.call_control import AttachedCallControl
from supervisor.calls.services import CallContext
from supervisor.conversation.actions import RunTool
from supervisor.conversation.realtime.tool_calls import ToolCall
from supervisor.records.handle import RecordHandle
from supervisor.records.record import JournalEntry
from supervisor.telemetry.tracing import rename_span, traced

log = structlog.get_logger()

QUICK_SECONDS = 0.001  # a tool that takes longer has its start in the journal meanwhile; about what writing it takes
JOURNAL_SECONDS = 3.0  # how long a tool waits for the store before the model is told that it is unavailable

UNAVAILABLE = error_output("The service is unavailable at the moment. Nothing was done.")
UNKNOWN = error_output("The outcome is unknown: it may or may not have been done. Do not try again without checking.")


@dataclass(eq=False, slots=True, repr=False)
class ToolRunner:
    """Run the tools of one call, each in a task of its own."""

    context: CallContext
    call: Call
    control: AttachedCallControl
    draining: bool = False
    """Whether new tool calls are only written down, for the next owner to run."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _runs: Counter[str] = field(default_factory=Counter, init=False)
    """How often each tool was called, by this and by earlier owners."""

    @property
    def _handle(self) -> RecordHandle:
        return self.context.handle

    def inherit(self, known: Container[str] = ()) -> dict[str, ToolCall]:
        """Take over the tool calls that earlier owners left, except `known` ones."""
        journal = {id_: entry for id_, entry in self._handle.record.journal.items() if id_ not in known}
        calls = inherited(journal)
        self._runs.update(entry.name for entry in journal.values() if entry.outcome is not None)
        self._handle.drop_confirmed(list(journal.values()))
        return calls

    def start(self, command: RunTool) -> None:
        """Run a tool; while draining, only write it down.

        Its task is in no group, since a group waits for a tool that does not heed its cancellation, and the call's end
        would never be written: see `finish` and `abandon`.
        """
        tool = self.context.agent.tools.get(command.name)
        entry = self._handle.record.journal.setdefault(
            command.tool_call_id,
            JournalEntry(
                tool_call_id=command.tool_call_id,
                name=command.name,
                arguments=command.arguments,
                idempotent=tool is not None and tool.options.idempotent,
            ),
        )
        if self.draining:
            self._handle.journal(entry)
            return
        task = asyncio.create_task(self._run(entry), name=f"tool call {command.tool_call_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def confirm(self, tool_call_id: str) -> None:
        """Note that OpenAI has shown a tool call's output."""
        if entry := self._handle.record.journal.get(tool_call_id):
            entry.confirmed = True
            self._handle.journal(entry)

    async def finish(self, within_seconds: float) -> None:
        """Let running tools finish; cancel those that take too long.

        The outcome of these stays unknown.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_seconds)
        late = list(self._tasks)
        for task in late:
            log.warning("tool_cancelled", task=task.get_name(), after_seconds=within_seconds)
            task.cancel()
        if late:
            await asyncio.wait(late)

    def abandon(self) -> None:
        """Cancel what still runs, and wait for nothing."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, entry: JournalEntry) -> None:
        running_tool_call.set(entry.tool_call_id)
        try:
            output = await self._output(entry)
        except Exception:  # whatever it is, the model must not wait for ever
            log.exception("tool_broke", tool=entry.name)
            output = error_output("The tool failed. Its outcome is unknown.")
        if output is None:
            return
        ran = entry.finished_at is not None
        entry = self._recorded(entry)
        entry.outcome, entry.finished_at = output, entry.finished_at or time.time()
        self._handle.journal(entry)
        self._handle.changed()  # the agent's state may have changed
        # Should the store be down, the output goes all the same: a second one has the same id, and OpenAI refuses it.
        await self._handle.flush(JOURNAL_SECONDS)
        await self.context.writer.write(self.context.conversation.tool_calls.answer(entry.tool_call_id, output))
        if ran:
            await asyncio.sleep(0)  # logging costs as much as an answer: of many that finish at once, all answer first
            log.info("tool_finished", tool=entry.name, ms=round((entry.finished_at - (entry.started_at or 0)) * 1000))

    @traced("tool")
    async def _output(self, entry: JournalEntry) -> str | None:
        """Run the tool; None when the call is no longer ours."""
        tool = self.context.agent.tools.get(entry.name)
        if tool is None:
            return error_output(f"There is no tool named {entry.name}.")
        rename_span(f"tool {tool.name}")
        if self._recorded(entry) is entry:
            entry.started_at = time.time()
            self._handle.journal(entry)
        # An idempotent tool need not wait, since it may run again; a quick one's start is written with its outcome.
        durable = tool.options.idempotent or await self._handle.flush(JOURNAL_SECONDS)
        if not await self.context.claim.verdict():
            return None
        if (recorded := self._recorded(entry)) is not entry:
            return recorded.outcome or UNKNOWN
        if not durable:
            log.error("tool_not_run", tool=tool.name, reason="its journal entry could not be written")
            return UNAVAILABLE
        self._runs[tool.name] += 1
        most = tool.options.max_calls
        if most and self._runs[tool.name] > most:
            log.warning("tool_overused", tool=tool.name, max_calls=most)
            return error_output("This tool may not be used again in this call.")
        late = asyncio.get_running_loop().call_later(QUICK_SECONDS, self._handle.hurry)
        try:
            output = await self._run_filled(tool, entry.arguments)
        finally:
            late.cancel()
        entry.finished_at = time.time()
        return output

    def _recorded(self, entry: JournalEntry) -> JournalEntry:
        """Look up what the record has in an entry's place.

        It is another where the record was opened late, and an earlier owner ran the tool.
        """
        return self._handle.record.journal.get(entry.tool_call_id, entry)

    async def _run_filled(self, tool: Tool, arguments: str) -> str:
        """Run a tool, and say its filler when it takes long."""
        if tool.options.filler is None:
            return await tool.run(self.call, arguments)
        task = asyncio.create_task(tool.run(self.call, arguments), name=f"tool {tool.name}")
        try:
            done, _ = await asyncio.wait([task], timeout=tool.options.filler_after_seconds)
            if not done:
                await self.control.fill(tool.options.filler)
            return await task
        finally:
            task.cancel()


def inherited(journal: Mapping[str, JournalEntry]) -> dict[str, ToolCall]:
    """Make tool calls of an earlier owner's journal (architecture.md#invariants).

    A tool that never started, or that is idempotent, is run again. Of any other the outcome is unknown, and the
    model is told so.
    """
    calls = {}
    for entry in journal.values():
        may_run = entry.started_at is None or entry.idempotent
        maybe_sent = entry.outcome is not None
        if entry.outcome is None and not may_run:
            entry.outcome = UNKNOWN
        calls[entry.tool_call_id] = ToolCall(
            name=entry.name,
            arguments=entry.arguments,
            output=entry.outcome,
            confirmed=entry.confirmed,
            maybe_sent=maybe_sent,
        )
    return calls
