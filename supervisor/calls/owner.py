"""Own one call, from its claim to its end.

The owner opens the record, sets the call up, has it run, and settles it or hands it over.

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
from supervisor.agents.incoming import Incoming
from supervisor.calls.attached import AttachedCall
from supervisor.calls.fence import Fence, Why
from supervisor.calls.services import CallContext, Services
from supervisor.calls.setup import CallSetup
from supervisor.calls.takeover import Takeover
from supervisor.claims import LAST_ATTEMPT, Claim
from supervisor.errors import NoticeError
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


@dataclass(eq=False, slots=True, repr=False)
class CallOwner:
    """Own one call for as long as this process has its claim."""

    services: Services
    claim: Claim
    contextvars: Context = field(default_factory=copy_context, init=False)
    """For all that is done for the call, so that its log lines, spans and counts name it."""
    _fence: Fence = field(init=False)
    _notice: CallNotice = field(init=False)
    _handle: RecordHandle = field(init=False)
    _setup: CallSetup = field(init=False)
    _attached: AttachedCall | None = field(default=None, init=False)
    """The call, once it is ours and its agent is known."""

    def __post_init__(self) -> None:
        self._fence = Fence(self.claim)

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
                if await self.claim.verdict():
                    await self._own()
        finally:
            if self._attached:
                self._attached.context.writer.detach()
        if self._fence.closed:
            log.info("let_go", disputed=self._fence.closed is Why.SUPERSEDED)
        if self._fence.closed is Why.SUPERSEDED:  # whoever gets the claim now raises the record's epoch
            await self.services.claims.release([self.claim])

    def tick(self, now: float) -> None:
        """Do what is due, if the call is ours.

        It is called about once a second, with the Unix time.
        """
        if self._attached and self._fence.permits():
            self._attached.tick(now)

    # From the notice to the outcome.

    async def _own(self) -> None:
        """Open the record; if the call is ours, serve it to its outcome.

        Then settle the call, or pass it on.
        """
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
        """Drop a notice that is a duplicate, or comes after the end.

        That of a failed call is given back, until Pub/Sub makes it a dead letter.
        """
        reason = self._record.end_reason
        log.info("notice_dropped", end_reason=reason)
        if reason is EndReason.FAILED and self.claim.delivery_attempt:
            await self.services.claims.release([self.claim], after_seconds=FAILED_AGAIN_SECONDS)
            return
        if reason is EndReason.FAILED:
            log.error("dead_letter_dropped", action="give the subscription a dead-letter policy, to keep such notices")
        await self.services.claims.ack(self.claim)

    async def _outcome(self) -> Outcome:
        """Serve the call to its outcome.

        An exception is noted in the record, for the next owner.
        """
        try:
            self._begin()
            return await self._give_up() or await self._serve()
        except Exception as error:
            self._record.last_error = f"{type(error).__name__}: {error}"
            self._handle.changed()
            raise

    def _begin(self) -> None:
        """Write into the record that we own the call now.

        What it said of the last owner is read before that.
        """
        record, claim, now = self._record, self.claim, time.time()
        attempt, epoch, handed_over_at = claim.delivery_attempt, record.epoch, record.handed_over_at
        log.info("claimed", delivery_attempt=attempt, epoch=epoch, handed_over_at=handed_over_at)
        takeover = self._read_takeover(now)
        signalling = self.services.signalling(self._fence.permits)
        self._setup = CallSetup(self.services, signalling, self._notice, self._handle, takeover)
        self._handle.on_merged = partial(self.contextvars.run, self._on_late_record)
        record.failures = record.failures + 1 if takeover.failed else 0
        record.claimed_at, record.handed_over_at = now, None
        record.heard_at = record.heard_at or self._notice.received_at
        record.transport, record.delivery_attempt = self._notice.transport, claim.delivery_attempt
        self._handle.changed()

    def _read_takeover(self, now: float) -> Takeover:
        provisional, delivery_attempt = self._handle.provisional, self.claim.delivery_attempt
        return Takeover.of(self._record, now, provisional=provisional, delivery_attempt=delivery_attempt)

    def _on_late_record(self) -> None:
        """Learn what earlier owners left, from a record opened late."""
        self._setup.takeover = self._read_takeover(time.time())
        if self._attached:
            self._attached.learn()

    async def _give_up(self) -> Outcome | None:
        """End a call that has failed too often; None goes on.

        None of the agent's code runs before that, since it may be the cause.
        """
        if not self.claim.confirmed:  # such a one comes here for the last resort alone
            return PassOn("Pub/Sub does not confirm the claim")
        record = self._record
        if record.failures < (MOST_FAILURES_ACCEPTED if record.accepted_at is not None else MOST_FAILURES_RINGING):
            return None
        last_error = (record.last_error or "").partition(":")[0]  # what it says may be personal
        log.error("call_given_up", failures=record.failures, last_error=last_error)
        if may_still_ring := await self._setup.refuse():
            return may_still_ring
        if record.agent in self.services.router.agents:
            self._give_to(str(record.agent))  # so that its `on_end` is called
        return CallEnded(EndReason.FAILED)

    async def _serve(self) -> Outcome:
        """Have the call's agent take it and stay with it."""
        incoming, record = Incoming(self._notice), self._record
        name = await self._setup.choose(incoming)
        if not isinstance(name, str):
            return name
        attached, seats = self._give_to(name), self.services.seats
        taken_before = record.accepted_at is not None or not self._setup.takeover.first_owner
        seated = seats.take(name, attached.context.agent, record.caller, force=taken_before)
        try:
            return await self._setup.take(attached.context, incoming, seated=seated) or await attached.run()
        finally:
            if seated:
                seats.leave(name, record.caller)

    def _give_to(self, name: str) -> AttachedCall:
        """Give the call to an agent."""
        agent = self.services.router.agents[name]
        context = CallContext.of(self.services, self.claim, self._fence, self._notice, agent=agent, handle=self._handle)
        attached = self._attached = AttachedCall.of(context, self._setup.takeover)
        self._record.agent = name
        self._record.caller, self._record.dialled = attached.call.caller, attached.call.dialled
        return attached

    # Let another have the call.

    async def hand_over(self, tools_seconds: float) -> None:
        """Let another supervisor have the call, unnoticed by caller and model.

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
        if not await self.claim.verdict():
            return
        if self.claim.delivery_attempt >= LAST_ATTEMPT:
            log.error("call_given_up", delivery_attempt=self.claim.delivery_attempt, cause=cause)
            await self._setup.refuse()
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
        """End the call for good.

        Its end is written before the ack: a crash in between costs one more claim, never the record.
        """
        if not await self.claim.verdict():
            return  # whoever owns the call now will find the same
        if not await self._call_end_handlers():
            await self._settle_later(reason)
        elif await self.claim.verdict():
            await self._write_end(reason)

    async def _call_end_handlers(self) -> bool:
        """Call the agent's `on_end` handlers, once in the call's life.

        That they are called is written first; False when it can't be.
        """
        record, attached = self._record, self._attached
        if attached is None or record.end_told or not (handlers := attached.context.agent.handlers.end):
            return True
        record.end_told = True
        self._handle.changed()
        if not await self._handle.flush(SETTLE_SECONDS):
            record.end_told = False  # whoever can write it calls them
            self._handle.changed()
            return False
        if await self.claim.verdict():
            for handler in handlers:
                await attached.context.call_handler(handler, attached.call)
        return True

    async def _write_end(self, reason: EndReason) -> None:
        """Write the end into the record, then acknowledge the notice."""
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
        """Have the notice delivered again, since the store did not take the end."""
        log.error("end_not_written", reason=reason.value, action="the notice comes again, to write it then")
        await self.services.claims.release([self.claim], after_seconds=SETTLE_AGAIN_SECONDS)
