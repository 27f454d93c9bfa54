"""AttachedCall a call's tools, with the journal before and after, so that no crash makes a side effect happen twice.

A tool starts when its journal entry is durable and the claim is still ours; its output is sent when its outcome is
durable. Whoever owns the call next reads there what was started, what came of it, and what OpenAI has shown to have.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, field

import structlog

from supervisor.agents.call import Call, running_tool_call
from supervisor.agents.tools import Tool, error_output
from supervisor.claims import Claim
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
    """Runs the tools of one call, beside the reader of its sideband."""

    tools: Mapping[str, Tool]
    call: Call
    claim: Claim
    handle: RecordHandle
    answer: Callable[[str, str], Awaitable[None]]
    """Takes a tool call's id and its output, for the model."""
    fill: Callable[[str], Awaitable[None]]
    """Says something while a tool takes its time."""
    draining: bool = False
    """Whether new tool calls are only written down, for the next owner to run."""
    _running: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _runs: Counter[str] = field(default_factory=Counter, init=False)
    """How often each tool was called, by this and by earlier owners."""

    def left_behind(self, known: Container[str] = ()) -> dict[str, ToolCall]:
        """What earlier owners left, without what is known of it already."""
        journal = {id_: entry for id_, entry in self.handle.record.journal.items() if id_ not in known}
        calls = left_behind(journal)
        self._runs.update(entry.name for entry in journal.values() if entry.outcome is not None)
        self.handle.drop_confirmed(list(journal.values()))
        return calls

    def start(self, action: RunTool) -> None:
        """Run a tool; while draining, only write it down.

        Its task is in no group, since a group waits for a tool that does not heed its cancellation, and the call's end
        would never be written: see `finish` and `abandon`.
        """
        entry = self.handle.record.journal.setdefault(
            action.tool_call_id,
            JournalEntry(
                tool_call_id=action.tool_call_id,
                name=action.name,
                arguments=action.arguments,
                idempotent=action.name in self.tools and self.tools[action.name].options.idempotent,
            ),
        )
        if self.draining:
            self.handle.journal(entry)
            return
        task = asyncio.create_task(self._run(entry), name=f"tool call {action.tool_call_id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def confirm(self, tool_call_id: str) -> None:
        """OpenAI has shown that it has the output."""
        if entry := self.handle.record.journal.get(tool_call_id):
            entry.confirmed = True
            self.handle.journal(entry)

    async def finish(self, within_seconds: float) -> None:
        """Let running tools finish, and cancel those that take too long: their outcome stays unknown."""
        if self._running:
            await asyncio.wait(self._running, timeout=within_seconds)
        late = list(self._running)
        for task in late:
            log.warning("tool_cancelled", task=task.get_name(), after_seconds=within_seconds)
            task.cancel()
        if late:
            await asyncio.wait(late)

    def abandon(self) -> None:
        """Cancel what still runs, and wait for nothing."""
        for task in self._running:
            task.cancel()

    async def _run(self, entry: JournalEntry) -> None:
        running_tool_call.set(entry.tool_call_id)
        try:
            output = await self._outcome(entry)
        except Exception:  # whatever it is, the model must not wait for ever
            log.exception("tool_broke", tool=entry.name)
            output = error_output("The tool failed. Its outcome is unknown.")
        if output is None:
            return
        ran = entry.finished_at is not None
        entry = self._recorded(entry)
        entry.outcome, entry.finished_at = output, entry.finished_at or time.time()
        self.handle.journal(entry)
        self.handle.changed()  # the agent's state may have changed
        # Should the store be down, the output goes all the same: a second one has the same id, and OpenAI refuses it.
        await self.handle.flush(JOURNAL_SECONDS)
        await self.answer(entry.tool_call_id, output)
        if ran:
            await asyncio.sleep(0)  # a line costs as much as an answer: of many that finish at once, all answer first
            log.info("tool_finished", tool=entry.name, ms=round((entry.finished_at - (entry.started_at or 0)) * 1000))

    @traced("tool")
    async def _outcome(self, entry: JournalEntry) -> str | None:
        """Run the tool; None when it must not run, since the call is no longer ours."""
        tool = self.tools.get(entry.name)
        if tool is None:
            return error_output(f"There is no tool named {entry.name}.")
        rename_span(f"tool {tool.name}")
        if self._recorded(entry) is entry:
            entry.started_at = time.time()
            self.handle.journal(entry)
        # An idempotent tool need not wait, since it may run again; a quick one's start is written with its outcome.
        durable = tool.options.idempotent or await self.handle.flush(JOURNAL_SECONDS)
        if not self.claim.may_write():
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
        late = asyncio.get_running_loop().call_later(QUICK_SECONDS, self.handle.hurry)
        try:
            output = await self._run_filled(tool, entry.arguments)
        finally:
            late.cancel()
        entry.finished_at = time.time()
        return output

    def _recorded(self, entry: JournalEntry) -> JournalEntry:
        """What the record has in its place: another's, where it was opened late and an earlier owner ran the tool."""
        return self.handle.record.journal.get(entry.tool_call_id, entry)

    async def _run_filled(self, tool: Tool, arguments: str) -> str:
        """Run a tool; when it takes longer than its filler allows, say the filler meanwhile."""
        if tool.options.filler is None:
            return await tool.run(self.call, arguments)
        running = asyncio.ensure_future(tool.run(self.call, arguments))
        try:
            done, _ = await asyncio.wait([running], timeout=tool.options.filler_after_seconds)
            if not done:
                await self.fill(tool.options.filler)
            return await running
        finally:
            running.cancel()


def left_behind(journal: Mapping[str, JournalEntry]) -> dict[str, ToolCall]:
    """What an earlier owner left, as the conversation takes it over (design, I2 and I3).

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
