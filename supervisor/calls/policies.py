"""The policies of one attached call: guards, limits, approvals, keys, failures, cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from supervisor.agents.agent import Agent, Guard
from supervisor.agents.call import Call, TransferFailed
from supervisor.agents.limits import Meter
from supervisor.agents.user_code import Failure, contained, name_of
from supervisor.calls.call_control import AttachedCallControl
from supervisor.calls.services import CallContext
from supervisor.conversation.actions import (
    DtmfReceived,
    Idle,
    McpApprovalRequest,
    NotTranscribed,
    PlaybackEnded,
    Report,
    ResponseBilled,
    ResponseFailed,
    Transcribed,
    TranscriptDelta,
    TranscriptionBilled,
)
from supervisor.openai import prices
from supervisor.outcomes import EndReason
from supervisor.records.record import Segment

log = structlog.get_logger()

LAST_SEGMENTS = 10  # of the transcript, for guards and tools; the store has all
GUARD_SECONDS = 5.0
END_AGAIN_SECONDS = 15.0  # after a call should have ended, before its limits are looked at again
RETRY_SECONDS = 0.5  # before a failed response is asked for again
GUARD_EVERY_CHARACTERS = 40


@dataclass(eq=False, slots=True, repr=False)
class CallPolicies:
    """Apply an agent's policies to one of its calls.

    They act on what the conversation reports, and by the clock.
    """

    context: CallContext
    call: Call
    control: AttachedCallControl
    _meter: Meter = field(init=False)
    _last_segments: list[Segment] = field(default_factory=list)
    _tripped: set[str] = field(default_factory=set)
    """Ids of the items that a guard has objected to."""
    _over_limit: bool = False
    """Whether the call is to end, since it is over a limit or its model fails."""

    def __post_init__(self) -> None:
        record, now = self.context.handle.record, time.time()
        self._meter = Meter(record.accepted_at or now, now, cost_usd=record.cost_usd, tokens=record.tokens)
        self._meter.caller_heard = record.epoch > 1
        self.call.transcript, self.call.cost_usd = self._last_segments, record.cost_usd
        if self._agent.guard.outputs:
            self.context.conversation.watch_every = GUARD_EVERY_CHARACTERS

    @property
    def _agent(self) -> Agent:
        return self.context.agent

    def on_report(self, report: Report) -> None:  # noqa: C901 - one case for each kind of report
        """Act on what the conversation reports."""
        spawn, meter = self.context.tasks.spawn, self._meter
        match report:
            case Transcribed():
                self._keep(report)
            case TranscriptDelta(item_id, text) if item_id not in self._tripped:
                spawn(self._guard(self._agent.guard.outputs, text, item_id), "guard")
            case DtmfReceived(key):
                meter.word(time.time(), caller=True)
                self.context.inputs.press(key)
            case Idle():
                meter.idle_timeouts += 1
            case PlaybackEnded():
                meter.word(time.time(), caller=False)
            case ResponseBilled(_, usage):
                self._add_cost(int(usage.get("total_tokens") or 0), prices.response_usd(usage, self._model()))
            case TranscriptionBilled(usage):
                self._add_cost(0, prices.transcription_usd(usage, self._transcription_model()))
            case NotTranscribed(item_id, code):
                log.warning("not_transcribed", item_id=item_id, code=code)
            case McpApprovalRequest():
                spawn(self._approve(report), "approve")
            case ResponseFailed(code, again):
                spawn(self._recover(code, again=again), "recover from a failed response")

    def tick(self, now: float, *, busy: bool, caller_heard: bool) -> None:
        """Apply the limits; called about once a second."""
        spawn, meter, limits = self.context.tasks.spawn, self._meter, self._agent.limits
        meter.caller_heard = meter.caller_heard or caller_heard
        if busy:
            meter.last_word_at = now
        if self._over_limit:
            return
        if reason := meter.exceeded(limits, now):
            self._over_limit = True
            log.info("limit_reached", reason=reason.value)
            goodbye = None if reason is EndReason.NO_CALLER else limits.goodbye
            spawn(self._end(reason, goodbye), "end at a limit")
        elif meter.should_ask(limits, now):
            spawn(self.control.respond({"instructions": limits.silence_question}), "ask who is there")

    async def _end(self, reason: EndReason, goodbye: str | None = None) -> None:
        """End the call.

        Should that not work, the limits apply again after some time.
        """
        await self.control.end(reason, goodbye=goodbye)
        await asyncio.sleep(END_AGAIN_SECONDS)
        self._over_limit = False

    def _keep(self, said: Transcribed) -> None:
        """Add to the transcript, and have it checked."""
        segment = Segment(item_id=said.item_id, role=said.role, text=said.text, at=time.time(), order=said.order)
        self._last_segments.append(segment)
        del self._last_segments[:-LAST_SEGMENTS]
        self.context.handle.said(segment)
        self._meter.word(segment.at, caller=said.role == "caller")
        guards = self._agent.guard.inputs if said.role == "caller" else self._agent.guard.outputs
        if guards and said.item_id not in self._tripped:
            self.context.tasks.spawn(self._guard(guards, said.text, said.item_id), "guard")

    async def _guard(self, guards: Sequence[Guard], text: str, item_id: str) -> None:
        """Ask each guard; the first that objects has the model say something else."""
        for guard in guards:
            instead = await self._call_rule(guard, text)
            if instead is not None and item_id not in self._tripped:
                self._tripped.add(item_id)
                log.warning("guard_tripped", guard=name_of(guard))
                await self.control.interrupt()
                if instead:
                    await self.call.say(instead)
                return

    async def _approve(self, request: McpApprovalRequest) -> None:
        """Have the agent approve a call to a hosted MCP tool.

        Without its yes the call is denied.
        """
        approver = self._agent.handlers.approve
        approve = approver is not None and await self._call_rule(approver, request) is True
        log.info("mcp_approval", tool=request.name, approved=approve)
        await self.control.approved(request.request_id, approve=approve)

    async def _call_rule(self, rule: Callable[..., Any], subject: Any) -> Any:
        """Call a function of the agent; None when it fails or takes too long."""
        answer = await contained(
            partial(rule, self.call, subject),
            within_seconds=GUARD_SECONDS,
            failed="rule_failed",
            timed_out="rule_timed_out",
            rule=name_of(rule),
        )
        return None if isinstance(answer, Failure) else answer

    def _add_cost(self, tokens: int, usd: float) -> None:
        record = self.context.handle.record
        record.tokens += tokens  # the record may have learned late of what an earlier owner used
        record.cost_usd += usd
        self._meter.tokens, self._meter.cost_usd = record.tokens, record.cost_usd
        self.call.cost_usd = record.cost_usd
        self.context.handle.changed()

    async def _recover(self, code: str, *, again: bool) -> None:
        """Request a failed response again, or apologise and end the call.

        Instead of its end, the call gets the agent's fallback if there is one.
        """
        log.warning("response_failed", code=code, again=again)
        if again:
            await asyncio.sleep(RETRY_SECONDS)
            await self.control.respond({})
        elif not self._over_limit:
            self._over_limit = True
            await self.call.say(self._agent.apology)
            if not await self._transferred_to_fallback():
                await self._end(EndReason.MODEL_FAILED)

    async def _transferred_to_fallback(self) -> bool:
        """Transfer the caller to the agent's fallback; False when there is none, or it fails."""
        target_uri = self._agent.fallback
        if not target_uri:
            return False
        try:
            await self.control.transfer(target_uri)
        except TransferFailed as failed:
            log.error("fallback_failed", error=str(failed))
            return False
        return True

    def _model(self) -> str:
        return str(self._agent.session.get("model"))

    def _transcription_model(self) -> str:
        transcription = ((self._agent.session.get("audio") or {}).get("input") or {}).get("transcription") or {}
        return str(transcription.get("model"))
