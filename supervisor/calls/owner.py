"""Own one call, from its claim to its end: open the record, take the call, have it run, settle it or hand it over.

The claim is the permission: when it is lost, the fence ends all of this at once. The record says how the last owner
left the call, and keeps for the next one how we leave it. What happens while the call is attached is in `attached`.
"""

from __future__ import annotations

import time
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial

import structlog
from pydantic import ValidationError

from function.notice import CallNotice
from supervisor.admission.policy import choose, decide
from supervisor.agents.incoming import BUSY, Incoming, Reject
from supervisor.agents.session import accept_body
from supervisor.calls.attached import AttachedCall
from supervisor.calls.fence import Fence, Why
from supervisor.calls.services import CallContext, Services
from supervisor.calls.takeover import Takeover
from supervisor.claims import Claim
from supervisor.errors import NoticeError
from supervisor.openai.sideband import Sideband
from supervisor.outcomes import CallEnded, EndReason, Outcome, PassOn
from supervisor.records.handle import RecordHandle
from supervisor.records.record import CallRecord
from supervisor.telemetry.tracing import begin_call, traced

log = structlog.get_logger()

OPEN_SECONDS = 1.0  # how long the record may take before the call is served without it
LEAVE_SECONDS = 1.0  # for writing down how we leave the call
SETTLE_SECONDS = 5.0  # for writing the end
PASS_ON_SECONDS = 2
FAILED_AGAIN_SECONDS = 1  # between deliveries of a failed call's notice, on its way to the dead letters
SETTLE_AGAIN_SECONDS = 30  # when the store was down at the end of a call
MOST_FAILURES_RINGING = 3  # owners that failed one after the other, before any has accepted the call
MOST_FAILURES_ACCEPTED = 10  # and once the caller is connected
LAST_ATTEMPT = 45  # of the 50 that Pub/Sub makes: then a call that nobody can run is ended instead of passed on
SERVICE_UNAVAILABLE = 503
NOT_FOUND = 404


@dataclass(eq=False, slots=True, repr=False)
class CallOwner:
    """Own one call for as long as this process has its claim."""

    services: Services
    claim: Claim
    contextvars: Context = field(default_factory=copy_context, init=False)
    """For all that is done for the call: its lines, spans and counts name it."""
    _fence: Fence = field(default_factory=Fence, init=False)
    _notice: CallNotice = field(init=False)
    _handle: RecordHandle = field(init=False)
    _takeover: Takeover = field(init=False)
    _attached: AttachedCall | None = field(default=None, init=False)
    """The call, once it is ours and its agent is known."""

    @property
    def _record(self) -> CallRecord:
        return self._handle.record

    async def run(self) -> None:
        """Own the call until it is over, handed over, or no longer ours.

        Raises:
            NoticeError: the message is not a CallNotice.
        """
        try:
            async with self._fence:
                self.claim.on_lost = partial(self._fence.close, Why.LOST)
                if self.claim.may_write():
                    await self._own()
        finally:
            if self._attached:
                self._attached.context.writer.detach()
        if self._fence.closed:
            log.info("let_go", disputed=self._fence.closed is Why.SUPERSEDED)
        if self._fence.closed is Why.SUPERSEDED:  # whoever gets the claim now raises the record's epoch
            await self.services.claims.release([self.claim])

    def tick(self, now: float) -> None:
        """Do what is due; called about once a second with the Unix time."""
        if self._attached:
            self._attached.tick(now)

    # From the notice to the outcome.

    async def _own(self) -> None:
        """Open the call's record; when it is ours, serve the call to its outcome, and do what follows from that."""
        self._read_notice()
        handle = self._handle = await self.services.record_writer.open(
            self._notice.call_id, self.claim.message_id, within_seconds=OPEN_SECONDS
        )
        try:
            if handle.record.message_id != self.claim.message_id or handle.record.end_reason:
                await self._drop()
                return
            handle.on_stale = partial(self._fence.close, Why.SUPERSEDED)
            match await self._outcome():
                case CallEnded(reason):
                    await self._settle(reason)
                case PassOn(cause):
                    await self._pass_on(cause)
        finally:
            handle.forget()

    def _read_notice(self) -> None:
        try:
            self._notice = CallNotice.parse(self.claim.data)
            self.claim.data = b""  # it is not needed again, and a call may last for an hour
        except ValidationError as error:
            problems = f"{error.error_count()} problems"
            raise NoticeError(f"message {self.claim.message_id} is not a CallNotice: {problems}") from error
        self.claim.call_id = self._notice.call_id
        begin_call(self._notice)

    async def _drop(self) -> None:
        """Drop a notice that is a duplicate, or comes after the end; that of a failed call becomes a dead letter."""
        reason = self._record.end_reason
        log.info("notice_dropped", end_reason=reason)
        if reason is EndReason.FAILED and self.claim.delivery_attempt:  # until it came 50 times
            await self.services.claims.release([self.claim], after_seconds=FAILED_AGAIN_SECONDS)
            return
        if reason is EndReason.FAILED:
            log.error("dead_letter_dropped", action="give the subscription a dead-letter policy, to keep such notices")
        await self.services.claims.ack(self.claim)

    async def _outcome(self) -> Outcome:
        """Serve the call to its outcome; an exception is noted in the record, for whoever serves it next."""
        try:
            self._begin()
            return await self._give_up() or await self._serve()
        except Exception as error:
            self._record.last_error = f"{type(error).__name__}: {error}"
            self._handle.changed()
            raise

    def _begin(self) -> None:
        """Read from the record how the last owner left, and write into it that we are the next."""
        record, claim, now = self._record, self.claim, time.time()
        attempt, epoch, handed_over_at = claim.delivery_attempt, record.epoch, record.handed_over_at
        log.info("claimed", delivery_attempt=attempt, epoch=epoch, handed_over_at=handed_over_at)
        self._read_takeover(now)
        self._handle.on_merged = partial(self.contextvars.run, self._on_late_record)
        record.failures = record.failures + 1 if self._takeover.failed else 0
        record.claimed_at, record.handed_over_at = now, None
        record.heard_at = record.heard_at or self._notice.received_at
        record.transport, record.delivery_attempt = self._notice.transport, claim.delivery_attempt
        self._handle.changed()

    def _read_takeover(self, now: float) -> None:
        provisional, delivery_attempt = self._handle.provisional, self.claim.delivery_attempt
        self._takeover = Takeover.of(self._record, now, provisional=provisional, delivery_attempt=delivery_attempt)

    def _on_late_record(self) -> None:
        """Learn from a record that was out of reach before whether the call had an owner, and what that left."""
        self._read_takeover(time.time())
        if self._attached:
            self._attached.learn()

    async def _give_up(self) -> Outcome | None:
        """End a call that has failed again and again, before any of the agent's code runs; None goes on."""
        record = self._record
        if record.failures < (MOST_FAILURES_ACCEPTED if record.accepted_at is not None else MOST_FAILURES_RINGING):
            return None
        last_error = (record.last_error or "").partition(":")[0]  # what it says may be personal
        log.error("call_given_up", failures=record.failures, last_error=last_error)
        if may_still_ring := await self._refuse():
            return may_still_ring
        if record.agent in self.services.router.agents:
            self._give_to(str(record.agent))  # so that its `on_end` is called
        return CallEnded(EndReason.FAILED)

    async def _serve(self) -> Outcome:
        """Have the call's agent take it and stay with it."""
        incoming, record = Incoming(self._notice), self._record
        name = await self._choose(incoming)
        if not isinstance(name, str):
            return name
        attached, seats = self._give_to(name), self.services.seats
        taken_before = record.accepted_at is not None or not self._takeover.first_owner
        seated = seats.take(name, attached.context.agent, record.caller, force=taken_before)
        try:
            return await self._take(attached.context, incoming, seated=seated) or await attached.run()
        finally:
            if seated:
                seats.leave(name, record.caller)

    async def _choose(self, incoming: Incoming) -> str | Outcome:
        """Choose the agent that has the call already, or shall have it; refuse the call when there is none."""
        record, agents = self._record, self.services.router.agents
        if record.agent in agents:
            return str(record.agent)
        if record.agent:
            log.error("agent_gone", agent=record.agent, action="the router chooses another", agents=list(agents))
        name = await choose(self.services.router, incoming)
        if name is not None:
            return name
        log.error("no_agent", action="refused: give the router a default, or a rule that fits")
        if record.accepted_at is not None:
            await self.services.signalling.hang_up(self._notice)
            return CallEnded(EndReason.REJECTED)
        refused = await self._reject(NOT_FOUND)
        return refused or CallEnded(EndReason.REJECTED)  # should another application have taken it, it is left alone

    def _give_to(self, name: str) -> AttachedCall:
        """Give the call to an agent."""
        agent = self.services.router.agents[name]
        context = CallContext.of(self.services, self.claim, self._fence, self._notice, agent=agent, handle=self._handle)
        attached = self._attached = AttachedCall.of(context, self._takeover)
        self._record.agent = name
        self._record.caller, self._record.dialled = attached.call.caller, attached.call.dialled
        return attached

    # Take the call. Each step returns an outcome that is reached already, or None to go on.

    @traced("take the call")
    async def _take(self, context: CallContext, incoming: Incoming, *, seated: bool) -> Outcome | None:
        """Decide, accept and attach, as far as no earlier owner did."""
        return (
            await self._decide(context, incoming, seated=seated)
            or await self._accept(context)
            or await self._attach(context)
        )

    async def _decide(self, context: CallContext, incoming: Incoming, *, seated: bool) -> Outcome | None:
        """Let limits and the agent's rule decide; what they decide is in the record for later owners."""
        record = self._record
        browser_may_talk = self._notice.transport != "sip" and self._takeover.maybe_accepted
        if record.accepted_at is not None or browser_may_talk:
            return None
        decision = await decide(context.agent, incoming) if seated else Reject(BUSY)
        if not isinstance(decision, Reject):
            record.session.update(decision.session)
            record.state.update(decision.state)
            return None
        outcome = await self._reject(decision.status_code)
        if outcome is None:
            log.warning("accepted_before", action="served, whatever the rule says now: somebody may be talking")
        elif isinstance(outcome, CallEnded):
            log.info("rejected", status_code=decision.status_code)
        return outcome

    async def _accept(self, context: CallContext) -> Outcome | None:
        """Accept a SIP call; where OpenAI refuses that, the attach shows whether the call lives."""
        record = self._record
        if not self._accepted:
            session = accept_body(context.agent.session, context.agent.tools, record.session)
            first_owner = self._takeover.first_owner
            accepted = await self.services.signalling.accept(self._notice.call_id, session, first_owner=first_owner)
            if not isinstance(accepted, bool):
                return accepted
            if accepted:
                record.accepted_at = time.time()
            elif self._handle.provisional and self._takeover.first_owner:
                return PassOn("somebody has accepted it, and the record that would say who is out of reach")
        self._handle.changed()
        self._handle.hurry()  # so that no later owner decides about it again
        return None

    async def _attach(self, context: CallContext) -> Outcome | None:
        """Attach to a call that was never attached; whatever comes later is an attach of the running call."""
        if self._record.attached_at is not None:
            return None
        match await self.services.signalling.attach(self._notice, accepted=self._accepted):
            case Sideband() as sideband:
                context.writer.attach(sideband)
                return None
            case CallEnded(EndReason.NEVER_ATTACHED):
                return await self._refuse() or CallEnded(self._never_attached())
            case outcome:
                return outcome

    @property
    def _accepted(self) -> bool:
        """Whether the call is known to be accepted; a browser's call always is."""
        return self._notice.transport != "sip" or self._record.accepted_at is not None

    def _never_attached(self) -> EndReason:
        """Say why there was nothing to attach to."""
        if not self._takeover.first_owner:
            return EndReason.CALLER_HUNG_UP
        return EndReason.NEVER_ATTACHED if self._accepted else EndReason.NOT_ACCEPTED

    # Refuse the call.

    async def _reject(self, status_code: int) -> Outcome | None:
        """Refuse the call, a browser's by hanging up; None when it was decided before, so that somebody may talk."""
        signalling = self.services.signalling
        if self._notice.transport == "sip":
            maybe_accepted = self._takeover.maybe_accepted
            return await signalling.reject(self._notice.call_id, status_code, maybe_accepted=maybe_accepted)
        if await signalling.hang_up(self._notice):
            return CallEnded(EndReason.REJECTED)
        return PassOn("the call could not be hung up")

    async def _refuse(self) -> PassOn | None:
        """Leave nobody ringing, and nobody talking to nobody; `PassOn` when it may still ring."""
        ringing = self._notice.transport == "sip" and self._record.accepted_at is None
        refused = await self._reject(SERVICE_UNAVAILABLE) if ringing else None
        if refused is None:
            await self.services.signalling.hang_up(self._notice)
        return refused if isinstance(refused, PassOn) else None

    # Let another have the call.

    async def hand_over(self, tools_seconds: float) -> None:
        """Let another supervisor have the call, so that neither the caller nor the model notices.

        Running tools get some seconds to finish; new tool calls are written down for the next owner. After that the
        claim goes back, nothing more is written, and the call is only listened to until the next owner is attached.
        """
        if self._attached:
            await self._attached.wind_down(tools_seconds)
            await self._leave(busy=self._attached.busy)
        await self.services.claims.release([self.claim])
        log.info("handed_over", message_id=self.claim.message_id)
        if self._attached:
            await self._attached.overlap()
        self._fence.close(Why.HANDED_OVER)

    async def _pass_on(self, cause: str) -> None:
        """Let another supervisor try; the last one that may try ends the call."""
        if not self.claim.may_write():
            return
        if self.claim.delivery_attempt >= LAST_ATTEMPT:
            log.error("call_given_up", delivery_attempt=self.claim.delivery_attempt, cause=cause)
            await self._refuse()
            await self._settle(EndReason.UNREACHABLE)
            return
        log.warning("passed_on", cause=cause)
        self._record.last_error = cause
        await self._leave(busy=True)
        await self.services.claims.release([self.claim], after_seconds=PASS_ON_SECONDS)

    async def _leave(self, *, busy: bool) -> None:
        """Write down for the next owner how we leave the call."""
        self._record.handed_over_at, self._record.busy = time.time(), busy
        self._handle.on_stale = lambda: None  # from now on the next owner may open the record
        self._handle.changed()
        await self._handle.flush(LEAVE_SECONDS)

    # End.

    @traced("settle")
    async def _settle(self, reason: EndReason) -> None:
        """Write the end first and ack second: a crash in between costs one more claim, never the record."""
        if not self.claim.may_write():
            return  # whoever owns the call now will find the same
        if not await self._call_end_handlers():
            await self._settle_later(reason)
        elif self.claim.may_write():
            await self._write_end(reason)

    async def _call_end_handlers(self) -> bool:
        """Call the agent's `on_end` handlers, once in the call's life; False when that can't be written before."""
        record, attached = self._record, self._attached
        if attached is None or record.end_told or not (handlers := attached.context.agent.handlers.end):
            return True
        record.end_told = True
        self._handle.changed()
        if not await self._handle.flush(SETTLE_SECONDS):
            record.end_told = False  # whoever can write it calls them
            self._handle.changed()
            return False
        if self.claim.may_write():
            for handler in handlers:
                await attached.context.call_handler(handler, attached.call)
        return True

    async def _write_end(self, reason: EndReason) -> None:
        record = self._record
        record.end_reason, record.ended_at = reason, time.time()
        self._handle.changed()
        if not await self._handle.flush(SETTLE_SECONDS):
            await self._settle_later(reason)
            return
        if reason is EndReason.FAILED:
            await self.services.claims.release([self.claim])  # Pub/Sub moves it to the dead letters, by and by
        else:
            await self.services.claims.ack(self.claim)
        log.info("ended", reason=reason.value, cost_usd=round(record.cost_usd, 6))

    async def _settle_later(self, reason: EndReason) -> None:
        log.error("end_not_written", reason=reason.value, action="the notice comes again, to write it then")
        await self.services.claims.release([self.claim], after_seconds=SETTLE_AGAIN_SECONDS)
