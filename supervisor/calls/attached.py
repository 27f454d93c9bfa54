"""Run one call that is ours: attach, configure, greet, follow the conversation; attach again after a lost socket.

What is said and done is decided in `conversation`; this is its I/O. Its reader takes one event after the other; tools,
rules and handlers run beside it; and every frame passes `AttachedCall.send`, which asks the claim first.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from function.notice import CallNotice
from supervisor.agents.agent import Agent
from supervisor.agents.call import Call, CallInputs
from supervisor.calls.call_control import CallControl
from supervisor.calls.greeting import Greeting
from supervisor.calls.policies import CallPolicies
from supervisor.calls.services import Services
from supervisor.calls.tasks import CallTasks
from supervisor.calls.tool_runner import ToolRunner
from supervisor.claims import Claim
from supervisor.conversation.actions import (
    Action,
    Answered,
    Event,
    OutOfBandAnswer,
    PlaybackEnded,
    RunTool,
    Send,
    SessionExpired,
)
from supervisor.conversation.realtime.conversation import Conversation
from supervisor.errors import EventError, SidebandClosed
from supervisor.openai import signalling
from supervisor.openai.sideband import Sideband
from supervisor.outcomes import CallOver, EndReason, HandOver
from supervisor.records.handle import RecordHandle
from supervisor.telemetry.tracing import traced

log = structlog.get_logger()

CONFIGURE_SECONDS = 5.0
SILENCE_SECONDS = 4.0  # after an attach that may have missed something, before the model is asked to go on
STABLE_SECONDS = 30.0  # a socket that lasted this long is not counted with the losses before it
MOST_LOSSES = 8  # sockets lost one after the other, before another supervisor may try
UNANSWERED_SECONDS = 5.0  # a response that was asked for begins, or is refused, long before
PING_SECONDS = 20.0  # between signs of life; a connection that gives none in that time is dead
LAST_TOOLS_SECONDS = 5.0  # what running tools get when the call is over
OVERLAP_SECONDS = 0.7  # how long a handed-over call is still listened to, unless its next owner is there sooner
EXPIRING_SECONDS = 120.0  # before OpenAI's limit, when the agent is told


@dataclass(eq=False, slots=True, repr=False)
class AttachedCall:
    """One call, from when it is ours until it is over, or another's."""

    services: Services
    claim: Claim
    notice: CallNotice
    handle: RecordHandle
    agent: Agent
    left_at: float | None
    """When the last owner stopped to listen, if it said so; None once we are attached."""
    uncertain: bool
    """Whether something may have been said or asked while nobody was attached."""
    conversation: Conversation = field(init=False)
    call: Call = field(init=False)
    beside: CallTasks = field(init=False)
    tools: ToolRunner = field(init=False)
    sideband: Sideband | None = field(default=None, init=False)
    """The one that is attached, or shall be used first."""
    _inputs: CallInputs = field(default_factory=CallInputs, init=False)
    _line: CallControl = field(init=False)
    _rules: CallPolicies = field(init=False)
    _greeting: Greeting = field(init=False)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _waited_for: tuple[str | None, float] = field(default=(None, 0.0), init=False)
    _ping_at: float = field(default=0.0, init=False)
    _next_owner_attached: asyncio.Event | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        handle, agent = self.handle, self.agent
        self.conversation = Conversation(epoch=handle.record.epoch)
        self.beside = CallTasks(handle.changed)
        spawn = self.beside.spawn
        line = self._line = CallControl(
            self.services, self.notice, self.conversation, handle, self._perform, self.send, spawn
        )
        call = self.call = Call(self.notice, line, handle.record.state, self._inputs)
        self.tools = ToolRunner(agent.tools, call, self.claim, handle, self._answer, line.fill)
        self._rules = CallPolicies(agent, call, handle, line, spawn, self._inputs.press)
        self._greeting = Greeting(agent, self.claim, handle, line)
        self.conversation.items, self.conversation.watch_every = handle.record.items, self._rules.watch_every

    @traced("hold the call")
    async def run(self) -> None:
        """Stay attached until the call is over; tools run beside.

        Raises:
            CallOver: it is.
            HandOver: another supervisor may have more luck with it.
        """
        self.beside.running = True
        try:
            raise await self._serve()
        finally:
            self._line.is_over()
            self.tools.abandon()
            await self.beside.close()

    async def _serve(self) -> CallOver | HandOver:
        """Attach again and again; returns what came of the call."""
        losses = 0
        try:
            await self._perform(self.conversation.tool_calls.restore(self.tools.left_behind()))
            while losses < MOST_LOSSES:
                started = time.monotonic()
                await self._stay_attached()
                losses = losses + 1 if time.monotonic() - started < STABLE_SECONDS else 1
                await asyncio.sleep(_backoff_seconds(losses))
            outcome: CallOver | HandOver = HandOver(f"{losses} sockets were lost one after the other")
        except (CallOver, HandOver) as raised:
            outcome = raised
        self.handle.record.transcript_cut = isinstance(outcome, CallOver) and self.conversation.busy
        if isinstance(outcome, CallOver) and self._line.transferring:
            self._line.is_over()
        await self.tools.finish(LAST_TOOLS_SECONDS)
        return outcome

    async def _stay_attached(self) -> None:
        """Attach, configure, greet if nobody did, and follow the conversation until the socket is lost."""
        record = self.handle.record
        sideband = self.sideband or await self._reattach()
        self.sideband = sideband
        self._ping_at = time.time() + random.uniform(0, PING_SECONDS)  # noqa: S311 - so that not all ping at once
        log.info("attached", again=record.attached_at is not None)
        record.attached_at = record.attached_at or time.time()
        record.accepted_at = record.accepted_at or record.attached_at  # by whomever: a browser, or a dead owner
        self._note_gap()
        self.handle.changed()
        sideband.skim(self._reads)
        try:
            await self._configure(sideband)
            await self._perform(self.conversation.attached())
            await self._greeting.greet()
            if self.uncertain:
                self.beside.spawn(self._break_silence(), "break the silence")
            while True:
                await self._receive(sideband)
        except SidebandClosed as closed:
            log.info("sideband_closed", code=closed.code, reason=closed.reason)
            self.uncertain = self.conversation.busy
        finally:
            self.sideband = None
            sideband.abort()

    def _note_gap(self) -> None:
        """After a change of owner: what was asked while nobody listened is lost (reference 3.4)."""
        left_at, self.left_at = self.left_at, None
        if left_at is not None and time.time() - left_at > OVERLAP_SECONDS:
            self.uncertain = True

    async def _reattach(self) -> Sideband:
        """Attach again; that OpenAI no longer knows the call means that it is over."""
        if not self.claim.may_write():
            raise HandOver("the next owner attaches")
        try:
            sideband = await signalling.open_sideband(self.services, self.notice, "reattach", accepted=True)
        except CallOver as over:
            raise CallOver(self._line.why_over or over.reason) from over
        if self._line.ending not in (None, EndReason.SESSION_EXPIRED):
            await signalling.hang_up(self.services, self.notice)
        if sideband is None:
            raise CallOver(self._line.why_over or EndReason.CALLER_HUNG_UP)
        return sideband

    async def _configure(self, sideband: Sideband) -> None:
        """Send the session and wait for its echo, which alone proves a live call (reference 2.1, 3.4)."""
        await self.send({"type": "session.update", "event_id": "sb_configure", "session": self._greeting.session()})
        try:
            async with asyncio.timeout(CONFIGURE_SECONDS):
                while True:
                    event = await self._receive(sideband)
                    if event.get("type") == "session.updated":
                        expires_at = (event.get("session") or {}).get("expires_at")
                        if isinstance(expires_at, int | float):
                            self.handle.record.expires_at = expires_at
                        return
                    error = event.get("error") or {}
                    if event.get("type") == "error" and error.get("event_id") == "sb_configure":
                        log.error("session_refused", error=error.get("message"))
                        return
        except TimeoutError:
            log.warning("session_not_confirmed", within_seconds=CONFIGURE_SECONDS)

    async def _break_silence(self) -> None:
        """What was asked while nobody was attached is not replayed (reference 3.4): if all is silent, ask to go on."""
        self.uncertain = False
        await asyncio.sleep(SILENCE_SECONDS)
        if not self.conversation.alive:
            log.info("silence_broken")
            await self._perform(self.conversation.break_silence())

    def _reads(self, type_: str) -> bool:
        return self.conversation.reads(type_) or type_ in self._inputs.handlers or type_ == "session.updated"

    async def _receive(self, sideband: Sideband) -> Event:
        event = await sideband.receive()
        try:
            actions = self.conversation.receive(event)
        except EventError:
            log.exception("event_left_out")
            return event
        if not self.conversation.speaking:
            self._line.fell_silent()
        if actions:
            await self._perform(actions)
        for handler in self._inputs.handlers.get(event.get("type", ""), ()):
            self.beside.spawn(self.beside.handle(handler, event), "handler")
        if self._next_owner_attached and self.claim.lost and event.get("type") == "session.updated":
            self._next_owner_attached.set()
        return event

    async def _perform(self, actions: Sequence[Action]) -> None:
        """Do what the conversation asks. One batch at a time, so that frames leave in the order they were decided."""
        async with self._writing:
            for action in actions:
                match action:
                    case Send(event):
                        await self.send(event)
                    case RunTool():
                        self.tools.start(action)
                    case Answered(tool_call_id):
                        self.tools.confirm(tool_call_id)
                    case SessionExpired():
                        self._line.ending = EndReason.SESSION_EXPIRED
                    case OutOfBandAnswer(key, text):
                        self._line.told(key, text)
                    case _:
                        if isinstance(action, PlaybackEnded):
                            self._line.fell_silent()
                        self._take_report(action)

    def _take_report(self, action: Action) -> None:
        try:
            self._rules.take(action)
        except (AttributeError, TypeError, ValueError):  # what OpenAI says is not of the documented kind
            log.exception("report_left_out", kind=type(action).__name__)

    async def send(self, event: Mapping[str, Any]) -> None:
        """Write a client event, if the claim still allows it.

        While no sideband is attached nothing is written: the next attach asks what is missing.
        """
        if self.sideband is None or not self.claim.may_write():
            return
        try:
            await self.sideband.send(event)
        except TypeError as error:
            log.error("event_not_json", type=event.get("type"), error=str(error), action="left out")
        except SidebandClosed as closed:
            log.info("not_written", type=event["type"], code=closed.code)  # the reader sees it too, and attaches again

    async def _answer(self, tool_call_id: str, output: str) -> None:
        await self._perform(self.conversation.tool_calls.answer(tool_call_id, output))

    def tick(self, now: float) -> None:
        """Do what is due; called about once a second with the Unix time."""
        if not self.beside.running or self.claim.lost:
            return
        if self.sideband and now >= self._ping_at:
            self._ping_at = now + PING_SECONDS
            self.beside.spawn(self.sideband.ping(), "ping")
        self._mind_unanswered(now)
        record = self.handle.record
        record.items = self.conversation.items
        talking = self.conversation.busy or self.conversation.playing  # audio plays long after its response is done
        self._rules.tick(now, busy=talking, caller_heard=self.conversation.caller_heard)
        if record.expires_at and not record.expiring_told and now >= record.expires_at - EXPIRING_SECONDS:
            record.expiring_told = True
            self.handle.changed()
            for handler in self.agent.handlers.expiring:
                self.beside.spawn(self.beside.handle(handler, self.call), "on_expiring")

    def _mind_unanswered(self, now: float) -> None:
        """Don't wait for ever for a response of which nothing is heard."""
        waiting_for = self.conversation.responses.requested
        if waiting_for is None or waiting_for != self._waited_for[0]:
            self._waited_for = (waiting_for, now)
        elif now - self._waited_for[1] > UNANSWERED_SECONDS:
            log.warning("response_unanswered", event_id=waiting_for)
            self.beside.spawn(self._perform(self.conversation.responses.retry()), "ask again")

    def learn(self) -> None:
        """The record was out of reach, and now tells of tool calls that earlier owners left open."""
        if self.beside.running:
            left = self.tools.left_behind(known=self.conversation.tool_calls.by_id)
            self.beside.spawn(self._perform(self.conversation.tool_calls.restore_late(left)), "learn what was left")

    # Let go.

    async def wind_down(self, tools_seconds: float) -> None:
        """Let running tools finish for some seconds, and write new tool calls down for the next owner."""
        self.tools.draining = True
        await self.tools.finish(tools_seconds)
        self._next_owner_attached = asyncio.Event()

    async def overlap(self) -> None:
        """Listen, without a claim to write, until the next owner is attached."""
        if self.beside.running:
            attached = self._next_owner_attached = self._next_owner_attached or asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(OVERLAP_SECONDS):
                    await attached.wait()

    def abort(self) -> None:
        """Drop the sideband, whatever is on it."""
        if self.sideband is not None:
            self.sideband.abort()


def _backoff_seconds(losses: int) -> float:
    """Full-jitter back-off: at most 0.1 s after the first loss, doubled with each further one, and at most 5 s."""
    return random.uniform(0, min(5.0, 0.05 * 2**losses))  # noqa: S311 - jitter, not a secret
