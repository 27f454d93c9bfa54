"""Holding one call, from its claim to its end: open the record, take the call, have it run, settle or hand over.

The claim is the permission: a lost claim ends all of this at once by way of the fence. The record says how the last
owner left the call, and is told how we do. What happens while the call is attached is in `running`.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field

import structlog
from pydantic import ValidationError

from function.notice import CallNotice
from supervisor.admission.policy import choose, decide
from supervisor.agents.agent import Agent
from supervisor.agents.incoming import BUSY, Incoming, Reject
from supervisor.agents.session import accept_body
from supervisor.calls.attached import AttachedCall
from supervisor.calls.greeting import FLUSH_SECONDS
from supervisor.calls.services import Services
from supervisor.claims import Claim
from supervisor.errors import NoticeError
from supervisor.openai import signalling
from supervisor.outcomes import CallOver, EndReason, HandOver
from supervisor.records.handle import RecordHandle
from supervisor.telemetry.tracing import begin_call, traced

log = structlog.get_logger()

CLAIM_SECONDS = 1.0  # how long the record may take before the call is served without it
SETTLE_SECONDS = 5.0  # for writing the end
PASS_ON_SECONDS = 2
FAILED_AGAIN_SECONDS = 1  # between deliveries of a failed call's notice, on its way to the dead letters
SETTLE_AGAIN_SECONDS = 30  # when the store was down at the end of a call
SHORT_HOLD_SECONDS = 60.0  # a hold that ended this soon without a hand-over has failed
MOST_FAILURES = {False: 3, True: 10}  # holds that failed one after the other, before and after the accept
LAST_ATTEMPT = 45  # of the 50 that Pub/Sub makes: then a call that nobody can hold is ended instead of passed on
SERVICE_UNAVAILABLE = 503
NOT_FOUND = 404


@dataclass(eq=False, slots=True, repr=False)
class CallOwner:
    """Keeps one call for as long as this process has its claim."""

    services: Services
    claim: Claim
    context: Context = field(default_factory=copy_context, init=False)
    """For all that is done for the call: its lines, spans and counts name it."""
    _notice: CallNotice = field(init=False)
    _handle: RecordHandle = field(init=False)
    _running: AttachedCall | None = field(default=None, init=False)
    """The call, once it is ours and its agent is known."""
    _fence: asyncio.Timeout = field(init=False)
    _open: bool = field(default=False, init=False)
    """Whether the fence can still end the holding."""
    _disputed: bool = field(default=False, init=False)

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
                await self.services.claims.release([self.claim])
        finally:
            if self._running:
                self._running.abort()

    def tick(self, now: float) -> None:
        """Do what is due; called about once a second with the Unix time."""
        if self._running:
            self._running.tick(now)

    def _let_go(self) -> None:
        if self._open and not self._fence.expired():
            self._fence.reschedule(asyncio.get_running_loop().time())

    def _dispute(self) -> None:
        self._disputed = True
        self._let_go()

    async def _hold(self) -> None:
        self._read_notice()
        handle = self._handle = await self.services.record_writer.open(
            self._notice.call_id, self.claim.message_id, within_seconds=CLAIM_SECONDS
        )
        try:
            if handle.record.message_id != self.claim.message_id or handle.record.end_reason:
                await self._drop()
                return
            handle.on_stale = self._dispute
            await self._own()
        finally:
            handle.on_stale = _nothing
            handle.forget()

    async def _own(self) -> None:
        """The call is ours: take it and run it, to whatever end."""
        record = self._handle.record
        try:
            left_at, uncertain = self._begin()
            await self._give_up_in_the_end()
            await self._run(Incoming(self._notice), left_at=left_at, uncertain=uncertain)
        except CallOver as over:
            await self._settle(over.reason)
        except HandOver as cause:
            await self._pass_on(str(cause))
        except Exception as error:
            record.last_error = f"{type(error).__name__}: {error}"
            self._handle.changed()
            raise

    async def _run(self, incoming: Incoming, *, left_at: float | None, uncertain: bool) -> None:
        """Have the call's agent take it and stay with it."""
        record = self._handle.record
        name = record.agent = await self._choose(incoming)
        running = self._with(name, left_at=left_at, uncertain=uncertain)
        taken_before = record.accepted_at is not None or not self._first_owner
        seated = self.services.seats.take(name, running.agent, record.caller, force=taken_before)
        try:
            await self._take(running, incoming, seated=seated)
            await running.run()
        finally:
            if seated:
                self.services.seats.leave(name, record.caller)

    def _with(self, name: str, *, left_at: float | None = None, uncertain: bool = False) -> AttachedCall:
        """The call with its agent."""
        running = self._running = AttachedCall(
            self.services,
            self.claim,
            self._notice,
            self._handle,
            self.services.router.agents[name],
            left_at=left_at,
            uncertain=uncertain,
        )
        record = self._handle.record
        record.caller, record.dialled = running.call.caller, running.call.dialled
        self._handle.on_merged = running.learn
        return running

    async def _choose(self, incoming: Incoming) -> str:
        """The name of the agent that has the call already, or shall have it."""
        record, agents = self._handle.record, self.services.router.agents
        if record.agent in agents:
            return str(record.agent)
        if record.agent:
            log.error("agent_gone", agent=record.agent, action="the router chooses another", agents=list(agents))
        name = await choose(self.services.router, incoming)
        if name is not None:
            return name
        log.error("no_agent", action="refused: give the router a default, or a rule that fits")
        if record.accepted_at is None:
            await self._reject(NOT_FOUND)  # should another application have taken it, it is left alone
        else:
            await signalling.hang_up(self.services, self._notice)
        raise CallOver(EndReason.REJECTED)

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
        """The notice is a duplicate, or comes after the end. Where the call has failed, it goes to the dead letters."""
        reason = self._handle.record.end_reason
        log.info("notice_dropped", end_reason=reason)
        if reason is EndReason.FAILED and self.claim.delivery_attempt:
            await self.services.claims.release(
                [self.claim], after_seconds=FAILED_AGAIN_SECONDS
            )  # until it came 50 times
            return
        if reason is EndReason.FAILED:
            log.error("dead_letter_dropped", action="give the subscription a dead-letter policy, to keep such notices")
        await self.services.claims.ack(self.claim)

    def _begin(self) -> tuple[float | None, bool]:
        """Read from the record how the last owner left, and write into it that we are the next.

        Returns when the last owner stopped to listen, and whether something may have been said while nobody did.
        """
        record, now = self._handle.record, time.time()
        claim, left_at = self.claim, record.handed_over_at
        log.info("claimed", delivery_attempt=claim.delivery_attempt, epoch=record.epoch, handed_over_at=left_at)
        taken_over = record.epoch > 1
        crashed = taken_over and left_at is None
        failed = crashed and now - (record.claimed_at or now) < SHORT_HOLD_SECONDS
        record.failures = record.failures + 1 if failed else 0
        record.claimed_at, record.handed_over_at = now, None
        record.heard_at = record.heard_at or self._notice.received_at
        record.transport, record.delivery_attempt = self._notice.transport, claim.delivery_attempt
        self._handle.changed()
        return left_at if taken_over else None, crashed or (taken_over and record.busy)

    async def _give_up_in_the_end(self) -> None:
        """End a call that has failed again and again, before any of the agent's code runs."""
        record = self._handle.record
        if record.failures >= MOST_FAILURES[record.accepted_at is not None]:
            last_error = (record.last_error or "").partition(":")[0]  # what it says may be personal
            log.error("call_given_up", failures=record.failures, last_error=last_error)
            await self._refuse()
            if record.agent in self.services.router.agents:
                self._with(str(record.agent))  # whose on_end is told
            raise CallOver(EndReason.FAILED)

    @property
    def _first_owner(self) -> bool:
        """Whether nobody held this call before: by the record, or by Pub/Sub while the record is out of reach."""
        if self._handle.provisional:
            return self.claim.delivery_attempt <= 1
        return self._handle.record.epoch == 1

    # Take the call.

    @traced("take the call")
    async def _take(self, running: AttachedCall, incoming: Incoming, *, seated: bool) -> None:
        """Decide, accept and attach, as far as no earlier owner did."""
        record = self._handle.record
        if record.accepted_at is None and (self._notice.transport == "sip" or self._untouched):
            await self._decide(running.agent, incoming, seated=seated)
        accepted = self._notice.transport != "sip" or await signalling.accept(
            self.services,
            record,
            accept_body(running.agent.session, running.agent.tools, record.session),
            first_owner=self._first_owner,
        )
        if not accepted and self._handle.provisional and self.claim.delivery_attempt <= 1:
            raise HandOver("somebody has accepted it, and the record that would say who is out of reach")
        self._handle.changed()
        self._handle.hurry()  # so that no later owner decides about it again
        if record.attached_at is None:
            running.sideband = await signalling.open_sideband(self.services, self._notice, "attach", accepted=accepted)
            if running.sideband is None:
                await self._refuse()
                raise CallOver(self._never_attached(accepted=accepted))

    async def _decide(self, agent: Agent, incoming: Incoming, *, seated: bool) -> None:
        """Let limits and the agent's rule decide; what they decide is in the record for later owners."""
        record = self._handle.record
        decision = await decide(agent, incoming) if seated else Reject(BUSY)
        if isinstance(decision, Reject):
            if await self._reject(decision.status_code):
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

    @property
    def _untouched(self) -> bool:
        """Whether no owner can have taken the call and died before it could say so."""
        left_in_order = self._running is not None and self._running.left_at is not None
        return self._first_owner or left_in_order

    async def _reject(self, status_code: int) -> bool:
        """Refuse the call, a browser's by hanging up; False when it was decided before.

        Raises:
            HandOver: OpenAI did not do it.
        """
        if self._notice.transport != "sip":
            if not await signalling.hang_up(self.services, self._notice):
                raise HandOver("the call could not be hung up")
            return True
        return await signalling.reject(
            self.services, self._notice.call_id, status_code, maybe_accepted=not self._untouched
        )

    async def _refuse(self) -> None:
        """Leave nobody ringing, and nobody talking to nobody.

        Raises:
            HandOver: it may still ring.
        """
        ringing = self._notice.transport == "sip" and self._handle.record.accepted_at is None
        if not (ringing and await self._reject(SERVICE_UNAVAILABLE)):
            await signalling.hang_up(self.services, self._notice)

    # End.

    async def hand_over(self, tools_seconds: float) -> None:
        """Let another supervisor have the call, so that neither the caller nor the model notices.

        Running tools get some seconds to finish; new tool calls are written down for the next owner. After that the
        claim goes back, nothing more is written, and the call is only listened to until the next owner is attached.
        """
        if self._running:
            await self._running.wind_down(tools_seconds)
            await self._leave(busy=self._running.conversation.busy)
        await self.services.claims.release([self.claim])
        log.info("handed_over", message_id=self.claim.message_id)
        if self._running:
            await self._running.overlap()
        self._let_go()

    async def _pass_on(self, cause: str) -> None:
        """This supervisor can't hold the call; another may, and the last one that may try ends it."""
        if not self.claim.may_write():
            return
        if self.claim.delivery_attempt >= LAST_ATTEMPT:
            log.error("call_given_up", delivery_attempt=self.claim.delivery_attempt, cause=cause)
            with suppress(HandOver):
                await self._refuse()
            await self._settle(EndReason.UNREACHABLE)
            return
        log.warning("passed_on", cause=cause)
        self._handle.record.last_error = cause
        await self._leave(busy=True)
        await self.services.claims.release([self.claim], after_seconds=PASS_ON_SECONDS)

    async def _leave(self, *, busy: bool) -> None:
        """Write down for the next owner how we leave the call."""
        record = self._handle.record
        record.handed_over_at, record.busy = time.time(), busy
        self._handle.on_stale = _nothing
        self._handle.changed()
        await self._handle.flush(FLUSH_SECONDS)

    @traced("settle")
    async def _settle(self, reason: EndReason) -> None:
        """Write the end first and ack second: a crash in between costs one more claim, never the record."""
        if not self.claim.may_write():
            return  # whoever owns the call now will find the same
        record, running = self._handle.record, self._running
        if running and running.agent.handlers.end and not record.end_told:
            record.end_told = True
            self._handle.changed()
            if not await self._handle.flush(SETTLE_SECONDS):
                record.end_told = False  # whoever can write it calls them
                self._handle.changed()
                await self._settle_later(reason)
                return
            if self.claim.may_write():
                for handler in running.agent.handlers.end:
                    await running.beside.handle(handler, running.call)
        if not self.claim.may_write():
            return
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


def _nothing() -> None:
    """What a claim or a record calls when nobody holds the call any more."""
