"""The rules of one call while it runs: guards, limits, approvals, keys, failures, usage. They act through its line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog

from supervisor.agents import user_code
from supervisor.agents.agent import Agent, Guard
from supervisor.agents.call import Call, CallControl, TransferFailed
from supervisor.agents.limits import Meter
from supervisor.conversation.actions import (
    Action,
    DtmfReceived,
    Idle,
    McpApprovalRequest,
    NotTranscribed,
    PlaybackEnded,
    ResponseBilled,
    ResponseFailed,
    Transcribed,
    TranscriptDelta,
    TranscriptionBilled,
)
from supervisor.openai import prices
from supervisor.outcomes import EndReason
from supervisor.records.handle import RecordHandle
from supervisor.records.record import Segment

log = structlog.get_logger()

KEPT_SEGMENTS = 10  # of the transcript, for guards and tools; the store has all
GUARD_SECONDS = 5.0
END_AGAIN_SECONDS = 15.0  # after a call should have ended, before its limits are looked at again
RETRY_SECONDS = 0.5  # before a failed response is asked for again
GUARD_EVERY_CHARACTERS = 40


class PolicyControl(CallControl, Protocol):
    """A line that rules can also end, and ask about approvals."""

    async def end(self, reason: EndReason, *, goodbye: str | None) -> None:
        """End the call for a reason, after a last response."""

    async def approved(self, request_id: str, *, approve: bool) -> None:
        """Answer an approval request."""


@dataclass(eq=False, slots=True, repr=False)
class CallPolicies:
    """What is watched in one call. `take` gets what the conversation reports, `tick` the time."""

    agent: Agent
    call: Call
    handle: RecordHandle
    line: PolicyControl
    spawn: Callable[[Coroutine[Any, Any, None], str], object]
    """Runs something beside the reader, for as long as the call lives."""
    press: Callable[[str], None]
    """Keeps a key that the caller pressed for `Call.digits`."""
    meter: Meter = field(init=False)
    _kept: list[Segment] = field(default_factory=list)
    _tripped: set[str] = field(default_factory=set)
    _over_limit: bool = False

    def __post_init__(self) -> None:
        record, now = self.handle.record, time.time()
        self.meter = Meter(record.accepted_at or now, now, cost_usd=record.cost_usd, tokens=record.tokens)
        self.meter.caller_heard = record.epoch > 1
        self.call.transcript, self.call.cost_usd = self._kept, record.cost_usd

    @property
    def watch_every(self) -> int:
        """How often the conversation shall report what the model is saying; 0 without guards on it."""
        return GUARD_EVERY_CHARACTERS if self.agent.guard.outputs else 0

    def take(self, action: Action) -> None:  # noqa: C901 - one case for each kind of report
        """Take what the conversation reports."""
        match action:
            case Transcribed():
                self._said(action)
            case TranscriptDelta(item_id, text) if item_id not in self._tripped:
                self.spawn(self._guard(self.agent.guard.outputs, text, item_id), "guard")
            case DtmfReceived(key):
                self.meter.word(time.time(), caller=True)
                self.press(key)
            case Idle():
                self.meter.idle_timeouts += 1
            case PlaybackEnded():
                self.meter.word(time.time(), caller=False)
            case ResponseBilled(_, usage):
                self._used(int(usage.get("total_tokens") or 0), prices.response_usd(usage, self._model()))
            case TranscriptionBilled(usage):
                self._used(0, prices.transcription_usd(usage, self._transcription_model()))
            case NotTranscribed(item_id, code):
                log.warning("not_transcribed", item_id=item_id, code=code)
            case McpApprovalRequest():
                self.spawn(self._approve(action), "approve")
            case ResponseFailed(code, again):
                self.spawn(self._recover(code, again=again), "recover from a failed response")

    def tick(self, now: float, *, busy: bool, caller_heard: bool) -> None:
        """Hold the limits against the clock; called about once a second."""
        self.meter.caller_heard = self.meter.caller_heard or caller_heard
        if busy:
            self.meter.last_word_at = now
        if self._over_limit:
            return
        if reason := self.meter.exceeded(self.agent.limits, now):
            self._over_limit = True
            log.info("limit_reached", reason=reason.value)
            goodbye = None if reason is EndReason.NO_CALLER else self.agent.limits.goodbye
            self.spawn(self._end(reason, goodbye), "end at a limit")
        elif self.meter.should_ask(self.agent.limits, now):
            self.spawn(self.line.respond({"instructions": self.agent.limits.silence_question}), "ask who is there")

    async def _end(self, reason: EndReason, goodbye: str | None = None) -> None:
        """End the call; when it is still here after some time, since that did not work, limits hold again."""
        await self.line.end(reason, goodbye=goodbye)
        await asyncio.sleep(END_AGAIN_SECONDS)
        self._over_limit = False

    def _said(self, said: Transcribed) -> None:
        segment = Segment(item_id=said.item_id, role=said.role, text=said.text, at=time.time(), order=said.order)
        self._kept.append(segment)
        del self._kept[:-KEPT_SEGMENTS]
        self.handle.said(segment)
        self.meter.word(segment.at, caller=said.role == "caller")
        guards = self.agent.guard.inputs if said.role == "caller" else self.agent.guard.outputs
        if guards and said.item_id not in self._tripped:
            self.spawn(self._guard(guards, said.text, said.item_id), "guard")

    async def _guard(self, guards: Sequence[Guard], text: str, item_id: str) -> None:
        """Ask each guard; the first that objects stops what is being said, and says its own."""
        for guard in guards:
            instead = await _outcome(guard, self.call, text)
            if instead is not None and item_id not in self._tripped:
                self._tripped.add(item_id)
                log.warning("guard_tripped", guard=getattr(guard, "__name__", "guard"))
                await self.line.interrupt()
                if instead:
                    await self.call.say(instead)
                return

    def _used(self, tokens: int, usd: float) -> None:
        record = self.handle.record
        record.tokens += tokens  # the record may have learned late of what an earlier owner used
        record.cost_usd += usd
        self.meter.tokens, self.meter.cost_usd = record.tokens, record.cost_usd
        self.call.cost_usd = record.cost_usd
        self.handle.changed()

    async def _approve(self, request: McpApprovalRequest) -> None:
        decision = (
            await _outcome(self.agent.handlers.approve, self.call, request) if self.agent.handlers.approve else None
        )
        log.info("mcp_approval", tool=request.name, approved=decision is True)
        await self.line.approved(request.request_id, approve=decision is True)

    async def _recover(self, code: str, *, again: bool) -> None:
        """Ask for a failed response again; when that does not help, apologise, and leave the caller in better hands."""
        log.warning("response_failed", code=code, again=again)
        if again:
            await asyncio.sleep(RETRY_SECONDS)
            await self.line.respond({})
            return
        if self._over_limit:
            return
        self._over_limit = True
        await self.call.say(self.agent.apology)
        if self.agent.fallback:
            try:
                await self.line.transfer(self.agent.fallback)
            except TransferFailed as failed:
                log.error("fallback_failed", error=str(failed))
            else:
                return
        await self._end(EndReason.MODEL_FAILED)

    def _model(self) -> str:
        return str(self.agent.session.get("model"))

    def _transcription_model(self) -> str:
        transcription = ((self.agent.session.get("audio") or {}).get("input") or {}).get("transcription") or {}
        return str(transcription.get("model"))


async def _outcome(rule: Callable[..., Any], *arguments: Any) -> Any:
    """What a rule of the agent says, plain or async; None when it fails or takes too long, which is logged."""
    name = getattr(rule, "__name__", "rule")
    try:
        return await user_code.run(partial(rule, *arguments), within_seconds=GUARD_SECONDS)
    except user_code.TookTooLongError:
        log.warning("rule_timed_out", rule=name, timeout_seconds=GUARD_SECONDS)
    except user_code.UserCodeError as failed:
        log.error("rule_failed", rule=name, error=str(failed), exc_info=failed.__cause__)
    return None
