"""Holding one call, from its claim to its end: open the record, take the call, run, re-attach, settle or hand over.

The claim is the permission: every frame passes `Holder.send`, which asks the claim first, and a lost claim ends all of
this at once by way of the fence. What is said and done is decided in `conversation`; this is its I/O.
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
from pydantic import ValidationError

from function.notice import CallNotice
from supervisor import taking
from supervisor.actions import Action, Answered, Event, Expired, Heard, RunTool, Send, Told
from supervisor.agent import Agent
from supervisor.beside import Beside
from supervisor.call import Call
from supervisor.claims import Claim
from supervisor.conversation import Conversation
from supervisor.deciding import decide
from supervisor.errors import EventError, NoticeError, SidebandClosed
from supervisor.greeting import FLUSH_SECONDS, Greeting
from supervisor.house import House
from supervisor.incoming import BUSY, Incoming, Reject
from supervisor.line import HeldLine
from supervisor.outcome import CallOver, HandOver
from supervisor.records import EndReason, Recording
from supervisor.rules import Rules
from supervisor.sideband import Sideband
from supervisor.telemetry import begin_call, traced
from supervisor.toolrunner import ToolRunner

log = structlog.get_logger()

CLAIM_SECONDS = 1.0  # how long the record may take before the call is served without it
CONFIGURE_SECONDS = 5.0
SILENCE_SECONDS = 4.0  # after an attach that may have missed something, before the model is asked to go on
STABLE_SECONDS = 30.0  # a socket that lasted this long is not counted with the losses before it
MOST_LOSSES = 8  # sockets lost one after the other, before another supervisor may try
UNANSWERED_SECONDS = 5.0  # a response that was asked for begins, or is refused, long before
PING_SECONDS = 20.0  # between signs of life; a connection that gives none in that time is dead
SETTLE_SECONDS = 5.0  # what running tools get when the call is over
OVERLAP_SECONDS = 0.7  # how long a handed-over call is still listened to, unless its next owner is there sooner
EXPIRING_SECONDS = 120.0  # before OpenAI's limit, when the agent is told
PASS_ON_SECONDS = 2
SETTLE_AGAIN_SECONDS = 30  # when the store was down at the end of a call
SHORT_HOLD_SECONDS = 60.0  # a hold that ended this soon without a hand-over has failed
MOST_FAILURES = {False: 3, True: 10}  # holds that failed one after the other, before and after the accept
LAST_ATTEMPT = 45  # of the 50 that Pub/Sub makes: then a call that nobody can hold is ended instead of passed on
SERVICE_UNAVAILABLE = 503
NOT_FOUND = 404


@dataclass(eq=False, slots=True, repr=False)
class Holder:
    """Keeps one call for as long as this process has its claim."""

    house: House
    claim: Claim
    conversation: Conversation = field(default_factory=Conversation)
    _notice: CallNotice = field(init=False)
    _recording: Recording = field(init=False)
    _agent: Agent = field(init=False)
    _call: Call = field(init=False)
    _line: HeldLine = field(init=False)
    _rules: Rules = field(init=False)
    _tools: ToolRunner = field(init=False)
    _beside: Beside = field(init=False)
    _greeting: Greeting = field(init=False)
    _fence: asyncio.Timeout = field(init=False)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _sideband: Sideband | None = field(default=None, init=False)
    _open: bool = field(default=False, init=False)
    """Whether the fence can still end the holding."""
    _begun: bool = field(default=False, init=False)
    _disputed: bool = field(default=False, init=False)
    _uncertain: bool = field(default=False, init=False)
    """Whether something may have been said or asked while nobody was attached."""
    _left_at: float | None = field(default=None, init=False)
    """When the last owner stopped to listen, until we are attached."""
    _waited_for: tuple[str | None, float] = field(default=(None, 0.0), init=False)
    _ping_at: float = field(default=0.0, init=False)
    _next_owner_attached: asyncio.Event | None = field(default=None, init=False)

    async def hold(self) -> None:
        """Hold the call until it is over, handed over, or lost with its claim.

        Raises:
            NoticeError: the message is not a CallNotice.
        """
        try:
            async with asyncio.timeout(None) as self._fence:
                self._open = True
                self.claim.on_lost = self._let_go
                try:
                    if self.claim.may_write():
                        await self._hold()
                finally:
                    self._open = False
        except TimeoutError:
            if not self._fence.expired():
                raise
            log.info("let_go", disputed=self._disputed)
            if self._disputed:  # whoever gets the claim now raises the record's epoch
                await self.house.claims.release([self.claim])
        finally:
            if self._sideband is not None:
                self._sideband.abort()

    def _let_go(self) -> None:
        if self._open and not self._fence.expired():
            self._fence.reschedule(asyncio.get_running_loop().time())

    def _dispute(self) -> None:
        self._disputed = True
        self._let_go()

    async def _hold(self) -> None:
        self._read_notice()
        recording = self._recording = await self.house.recorder.claim(
            self._notice.call_id, self.claim.message_id, within_seconds=CLAIM_SECONDS
        )
        try:
            if recording.record.message_id != self.claim.message_id or recording.record.end_reason:
                await self._drop()
                return
            recording.on_stale, recording.on_adopted = self._dispute, self._learn
            await self._own()
        finally:
            recording.on_stale = _nothing
            recording.forget()

    async def _own(self) -> None:
        """The call is ours: take it and run it, to whatever end."""
        incoming, record = Incoming(self._notice), self._recording.record
        name = record.agent or self.house.router.name_for(incoming)
        record.agent = name
        if name is None:
            log.warning("no_agent", action="rejected with 404")
            await taking.reject(self.house, self._notice.call_id, NOT_FOUND)
            await self._settle(EndReason.REJECTED)
            return
        seated = self._begin(name)
        try:
            await self._take(incoming, seated=seated)
            await self._run()
        except CallOver as over:
            await self._settle(over.reason)
        except HandOver as cause:
            await self._pass_on(str(cause))
        except Exception as error:
            record.last_error = f"{type(error).__name__}: {error}"
            self._recording.changed()
            raise
        finally:
            if seated:
                self.house.seats.leave(name, record.caller)

    def _read_notice(self) -> None:
        try:
            self._notice = CallNotice.parse(self.claim.data)
        except ValidationError as error:
            problems = f"{error.error_count()} problems"
            raise NoticeError(f"message {self.claim.message_id} is not a CallNotice: {problems}") from error
        begin_call(self._notice)

    async def _drop(self) -> None:
        """The notice is a duplicate, or comes after the end. Where the call has failed, it goes to the dead letters."""
        reason = self._recording.record.end_reason
        log.info("notice_dropped", end_reason=reason)
        if reason is EndReason.FAILED:
            await self.house.claims.release([self.claim])  # until Pub/Sub has tried often enough
        else:
            await self.house.claims.ack(self.claim)

    def _begin(self, name: str) -> bool:
        """Read from the record how the last owner left, and write into it that we are the next.

        Returns whether there is a seat for the call.
        """
        record, now = self._recording.record, time.time()
        claim, left_at = self.claim, record.handed_over_at
        log.info("claimed", delivery_attempt=claim.delivery_attempt, epoch=record.epoch, handed_over_at=left_at)
        handed_over = record.handed_over_at is not None
        if record.epoch > 1:
            self._left_at = record.handed_over_at
            self._uncertain = not handed_over or record.busy
        failed = record.epoch > 1 and not handed_over and now - (record.claimed_at or now) < SHORT_HOLD_SECONDS
        record.failures = record.failures + 1 if failed else 0
        record.claimed_at, record.handed_over_at = now, None
        record.heard_at = record.heard_at or self._notice.received_at
        record.transport, record.delivery_attempt = self._notice.transport, self.claim.delivery_attempt
        self._beside = Beside(self._recording.changed)
        self._line = HeldLine(
            self.house, self._notice, self.conversation, self._recording, self._perform, self.send, self._beside.spawn
        )
        self._call = Call(self._notice, self._line, record.state)
        record.caller, record.dialled = self._call.caller, self._call.dialled
        self._recording.changed()
        self._agent = self.house.router.agents[name]
        self._greeting = Greeting(self._agent, self.claim, self._recording, self._line)
        self._rules = Rules(self._agent, self._call, self._recording, self._line, self._beside.spawn)
        self._tools = ToolRunner(
            self._agent.tools, self._call, self.claim, self._recording, self._answer, self._line.fill
        )
        self.conversation.items, self.conversation.watch_every = record.items, self._rules.watch_every
        self._begun = True
        taken_before = record.accepted_at is not None or not self._first_owner
        return self.house.seats.take(name, self._agent, record.caller, force=taken_before)

    @property
    def _running(self) -> bool:
        return self._begun and self._beside.running

    def _learn(self) -> None:
        """The record was out of reach, and now tells of tool calls that earlier owners left open."""
        if self._running:
            left = self._tools.left_behind(known=self.conversation.tool_calls)
            self._beside.spawn(self._perform(self.conversation.learned(left)), "learn what was left")

    @property
    def _first_owner(self) -> bool:
        """Whether nobody held this call before: by the record, or by Pub/Sub while the record is out of reach."""
        if self._recording.provisional:
            return self.claim.delivery_attempt <= 1
        return self._recording.record.epoch == 1

    # Take the call.

    @traced("take the call")
    async def _take(self, incoming: Incoming, *, seated: bool) -> None:
        record = self._recording.record
        if record.failures >= MOST_FAILURES[record.accepted_at is not None]:
            log.error("call_given_up", failures=record.failures, last_error=record.last_error)
            await self._refuse()
            raise CallOver(EndReason.FAILED)
        if record.accepted_at is None and self._notice.transport == "sip":
            await self._decide(incoming, seated=seated)
        elif not seated:
            log.info("hung_up_busy")
            await taking.hang_up(self.house, self._notice)
            raise CallOver(EndReason.REJECTED)
        accepted = self._notice.transport != "sip" or await taking.accept(
            self.house, record, self._agent.accept_body(record.session), first_owner=self._first_owner
        )
        if not accepted and self._recording.provisional and self.claim.delivery_attempt <= 1:
            raise HandOver("somebody has accepted it, and the record that would say who is out of reach")
        self._recording.changed()
        self._recording.hurry()  # so that no later owner decides about it again
        if record.attached_at is None:
            self._sideband = await taking.open_sideband(self.house, self._notice, "attach", accepted=accepted)
            if self._sideband is None:
                await self._refuse()
                raise CallOver(self._never_attached(accepted=accepted))

    async def _decide(self, incoming: Incoming, *, seated: bool) -> None:
        """Let limits and the agent's rule decide; what they decide is in the record for later owners."""
        record = self._recording.record
        decision = await decide(self._agent, incoming) if seated else Reject(BUSY)
        if isinstance(decision, Reject):
            if await taking.reject(self.house, self._notice.call_id, decision.status_code):
                log.info("rejected", status_code=decision.status_code)
                raise CallOver(EndReason.REJECTED)
            log.warning("accepted_before", action="served, whatever the rule says now: somebody may be talking")
            return
        record.session.update(decision.session)
        record.state.update(decision.state)

    def _never_attached(self, *, accepted: bool) -> EndReason:
        if not self._first_owner:
            return EndReason.CALLER_HUNG_UP
        return EndReason.NEVER_ATTACHED if accepted else EndReason.NOT_ACCEPTED

    async def _refuse(self) -> None:
        """Leave nobody ringing, and nobody talking to nobody."""
        ringing = self._notice.transport == "sip" and self._recording.record.accepted_at is None
        if not (ringing and await taking.reject(self.house, self._notice.call_id, SERVICE_UNAVAILABLE)):
            await taking.hang_up(self.house, self._notice)

    # Run.

    @traced("hold the call")
    async def _run(self) -> None:
        """Stay attached until the call is over; tools run beside."""
        async with asyncio.TaskGroup() as group:
            self._beside.open(group)
            try:
                outcome = await self._serve()
            finally:
                self._beside.close()
                self._line.is_over()
                self._tools.abandon()
        raise outcome

    async def _serve(self) -> CallOver | HandOver:
        """Attach again and again; returns what came of the call, which a task group would wrap if it were raised."""
        losses = 0
        try:
            await self._perform(self.conversation.restore(self._tools.left_behind()))
            while losses < MOST_LOSSES:
                started = time.monotonic()
                await self._stay_attached()
                losses = losses + 1 if time.monotonic() - started < STABLE_SECONDS else 1
                await asyncio.sleep(_backoff_seconds(losses))
            outcome: CallOver | HandOver = HandOver(f"{losses} sockets were lost one after the other")
        except (CallOver, HandOver) as raised:
            outcome = raised
        self._recording.record.transcript_cut = isinstance(outcome, CallOver) and self.conversation.busy
        if isinstance(outcome, CallOver) and self._line.transferring:
            self._line.is_over()
        await self._tools.finish(SETTLE_SECONDS)
        return outcome

    async def _stay_attached(self) -> None:
        """Attach, configure, greet if nobody did, and follow the conversation until the socket is lost."""
        record = self._recording.record
        sideband = self._sideband or await self._reattach()
        self._sideband = sideband
        self._ping_at = time.time() + random.uniform(0, PING_SECONDS)  # noqa: S311 - so that not all ping at once
        log.info("attached", again=record.attached_at is not None)
        record.attached_at = record.attached_at or time.time()
        record.accepted_at = (
            record.accepted_at or record.attached_at
        )  # by whomever: a browser's call, or a dead owner's
        self._note_gap()
        self._recording.changed()
        sideband.skim(self._reads)
        try:
            await self._configure(sideband)
            await self._perform(self.conversation.attached())
            await self._greeting.greet()
            if self._uncertain:
                self._beside.spawn(self._break_silence(), "break the silence")
            while True:
                await self._receive(sideband)
        except SidebandClosed as closed:
            log.info("sideband_closed", code=closed.code, reason=closed.reason)
            self._uncertain = self.conversation.busy
        finally:
            self._sideband = None
            sideband.abort()

    def _note_gap(self) -> None:
        """After a change of owner: what was asked while nobody listened is lost (reference 3.4)."""
        left_at, self._left_at = self._left_at, None
        if left_at is not None and time.time() - left_at > OVERLAP_SECONDS:
            self._uncertain = True

    async def _reattach(self) -> Sideband:
        """Attach again; that OpenAI no longer knows the call means that it is over."""
        if not self.claim.may_write():
            raise HandOver("the next owner attaches")
        try:
            sideband = await taking.open_sideband(self.house, self._notice, "reattach", accepted=True)
        except CallOver as over:
            raise CallOver(self._line.why_over or over.reason) from over
        if self._line.ending not in (None, EndReason.SESSION_EXPIRED):
            await taking.hang_up(self.house, self._notice)
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
                            self._recording.record.expires_at = expires_at
                        return
                    error = event.get("error") or {}
                    if event.get("type") == "error" and error.get("event_id") == "sb_configure":
                        log.error("session_refused", error=error.get("message"))
                        return
        except TimeoutError:
            log.warning("session_not_confirmed", within_seconds=CONFIGURE_SECONDS)

    async def _break_silence(self) -> None:
        """What was asked while nobody was attached is not replayed (reference 3.4): if all is silent, ask to go on."""
        self._uncertain = False
        await asyncio.sleep(SILENCE_SECONDS)
        if not self.conversation.alive:
            log.info("silence_broken")
            await self._perform(self.conversation.break_silence())

    def _reads(self, type_: str) -> bool:
        return self.conversation.reads(type_) or type_ in self._call.handlers or type_ == "session.updated"

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
        for handler in self._call.handlers.get(event.get("type", ""), ()):
            self._beside.spawn_handler(handler, event, "handler")
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
                        self._tools.start(action)
                    case Answered(tool_call_id):
                        self._tools.confirm(tool_call_id)
                    case Expired():
                        self._line.ending = EndReason.SESSION_EXPIRED
                    case Told(key, text):
                        self._line.told(key, text)
                    case _:
                        if isinstance(action, Heard):
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
        if self._sideband is None or not self.claim.may_write():
            return
        try:
            await self._sideband.send(event)
        except TypeError as error:
            log.error("event_not_json", type=event.get("type"), error=str(error), action="left out")
        except SidebandClosed as closed:
            log.info("not_written", type=event["type"], code=closed.code)  # the reader sees it too, and attaches again

    async def _answer(self, tool_call_id: str, output: str) -> None:
        await self._perform(self.conversation.tool_finished(tool_call_id, output))

    def tick(self, now: float) -> None:
        """Do what is due; called about once a second with the Unix time."""
        if not self._running or self.claim.lost:
            return
        if self._sideband and now >= self._ping_at:
            self._ping_at = now + PING_SECONDS
            self._beside.spawn(self._sideband.ping(), "ping")
        self._mind_unanswered(now)
        record = self._recording.record
        record.items = self.conversation.items
        self._rules.tick(now, busy=self.conversation.busy, caller_heard=self.conversation.caller_heard)
        if record.expires_at and not record.expiring_told and now >= record.expires_at - EXPIRING_SECONDS:
            record.expiring_told = True
            self._recording.changed()
            for handler in self._agent.expiring_handlers:
                self._beside.spawn_handler(handler, self._call, "on_expiring")

    def _mind_unanswered(self, now: float) -> None:
        """Don't wait for ever for a response of which nothing is heard."""
        waiting_for = self.conversation.waiting_for
        if waiting_for is None or waiting_for != self._waited_for[0]:
            self._waited_for = (waiting_for, now)
        elif now - self._waited_for[1] > UNANSWERED_SECONDS:
            log.warning("response_unanswered", event_id=waiting_for)
            self._beside.spawn(self._perform(self.conversation.unanswered()), "ask again")

    # End.

    async def hand_over(self, tools_seconds: float) -> None:
        """Let another supervisor have the call, so that neither the caller nor the model notices.

        Running tools get some seconds to finish; new tool calls are written down for the next owner. After that the
        claim goes back, nothing more is written, and the call is only listened to until the next owner is attached.
        """
        if self._begun:
            self._tools.draining = True
            await self._tools.finish(tools_seconds)
            await self._leave(busy=self.conversation.busy)
        self._next_owner_attached = asyncio.Event()
        await self.house.claims.release([self.claim])
        log.info("handed_over", message_id=self.claim.message_id)
        if self._running:
            with suppress(TimeoutError):
                async with asyncio.timeout(OVERLAP_SECONDS):
                    await self._next_owner_attached.wait()
        self._let_go()

    async def _pass_on(self, cause: str) -> None:
        """This supervisor can't hold the call; another may, and the last one that may try ends it."""
        if not self.claim.may_write():
            return
        if self.claim.delivery_attempt >= LAST_ATTEMPT:
            log.error("call_given_up", delivery_attempt=self.claim.delivery_attempt, cause=cause)
            await self._refuse()
            await self._settle(EndReason.UNREACHABLE)
            return
        log.warning("passed_on", cause=cause)
        self._recording.record.last_error = cause
        await self._leave(busy=True)
        await self.house.claims.release([self.claim], after_seconds=PASS_ON_SECONDS)

    async def _leave(self, *, busy: bool) -> None:
        """Write down for the next owner how we leave the call."""
        record = self._recording.record
        record.handed_over_at, record.busy = time.time(), busy
        self._recording.on_stale = _nothing
        self._recording.changed()
        await self._recording.flush(FLUSH_SECONDS)

    @traced("settle")
    async def _settle(self, reason: EndReason) -> None:
        """Write the end first and ack second: a crash in between costs one more claim, never the record."""
        if not self.claim.may_write():
            return  # whoever owns the call now will find the same
        record = self._recording.record
        if self._begun and self._agent.end_handlers and not record.end_told:
            record.end_told = True
            self._recording.changed()
            if await self._recording.flush(SETTLE_SECONDS) and self.claim.may_write():
                for handler in self._agent.end_handlers:
                    await self._beside.handle(handler, self._call)
        if not self.claim.may_write():
            return
        record.end_reason, record.ended_at = reason, time.time()
        self._recording.changed()
        if not await self._recording.flush(SETTLE_SECONDS):
            log.error("end_not_written", reason=reason.value, action="the notice comes again, to write it then")
            await self.house.claims.release([self.claim], after_seconds=SETTLE_AGAIN_SECONDS)
            return
        if reason is EndReason.FAILED:
            await self.house.claims.release([self.claim])  # Pub/Sub moves it to the dead letters, by and by
        else:
            await self.house.claims.ack(self.claim)
        log.info("ended", reason=reason.value, cost_usd=round(record.cost_usd, 6))


def _nothing() -> None:
    """What a claim or a record calls when nobody holds the call any more."""


def _backoff_seconds(losses: int) -> float:
    """Full-jitter back-off: at most 0.1 s after the first loss, doubled with each further one, and at most 5 s."""
    return random.uniform(0, min(5.0, 0.05 * 2**losses))  # noqa: S311 - jitter, not a secret
