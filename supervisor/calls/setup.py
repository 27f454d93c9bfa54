"""Set a call up: choose its agent, decide, accept, attach.

Or refuse it, so that nobody is left ringing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import structlog

from function.notice import CallNotice
from supervisor.admission.policy import choose, decide
from supervisor.agents.incoming import BUSY, UNAVAILABLE, Incoming, Reject
from supervisor.agents.session import accept_body
from supervisor.calls.services import CallContext, Services
from supervisor.calls.takeover import Takeover
from supervisor.openai.sideband import Sideband
from supervisor.openai.signalling import Signalling
from supervisor.outcomes import CallEnded, EndReason, Outcome, PassOn
from supervisor.records.handle import RecordHandle
from supervisor.records.record import CallRecord
from supervisor.telemetry.tracing import traced

log = structlog.get_logger()

NOT_FOUND = 404  # as SIP says it: there is nobody of that name


@dataclass(eq=False, slots=True, repr=False)
class CallSetup:
    """Set one call up, as far as no earlier owner did.

    Each step returns an outcome where one is reached already, and None where the call goes on.
    """

    services: Services
    signalling: Signalling
    notice: CallNotice
    handle: RecordHandle
    takeover: Takeover
    _missed: bool = False
    """Whether OpenAI knew of no such call when we were to accept it."""

    @property
    def _record(self) -> CallRecord:
        return self.handle.record

    async def choose(self, incoming: Incoming) -> str | Outcome:
        """Choose the call's agent, or refuse the call when there is none.

        It is the agent that had the call before, if any.
        """
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
            await self.signalling.hang_up(self.notice)
            return CallEnded(EndReason.REJECTED)
        refused = await self._reject(NOT_FOUND)
        return refused or CallEnded(EndReason.REJECTED)  # should another application have taken it, it is left alone

    @traced("take the call")
    async def take(self, context: CallContext, incoming: Incoming, *, seated: bool) -> Outcome | None:
        """Decide, accept and attach, as far as no earlier owner did."""
        return (
            await self._decide(context, incoming, seated=seated)
            or await self._accept(context)
            or await self._attach(context)
        )

    async def _decide(self, context: CallContext, incoming: Incoming, *, seated: bool) -> Outcome | None:
        """Let limits and the agent's rule decide, for later owners too."""
        record = self._record
        browser_may_talk = self.notice.transport != "sip" and self.takeover.maybe_accepted
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
        """Accept a SIP call, unless it is accepted.

        Where OpenAI refuses that, the attach shows whether the call lives.
        """
        record = self._record
        if not self._accepted:
            session = accept_body(context.agent.session, context.agent.tools, record.session)
            accepted = await self.signalling.accept(self.notice.call_id, session)
            self._missed = accepted == CallEnded(EndReason.MISSED)
            if self._missed and not self.takeover.first_owner:
                accepted = False  # an earlier owner may have accepted it, and not lived to say so
            if not isinstance(accepted, bool):
                return accepted
            if accepted:
                record.accepted_at = time.time()
            elif self.handle.provisional and self.takeover.first_owner:
                return PassOn("somebody has accepted it, and the record that would say who is out of reach")
        self.handle.changed()
        self.handle.hurry()  # so that no later owner decides about it again
        return None

    async def _attach(self, context: CallContext) -> Outcome | None:
        """Attach to a call that was never attached.

        Every later attach belongs to running it: see `AttachedCall`.
        """
        if self._record.attached_at is not None:
            return None
        match await self.signalling.attach(self.notice, accepted=self._accepted):
            case Sideband() as sideband:
                context.writer.attach(sideband)
                return None
            case CallEnded(EndReason.NEVER_ATTACHED):
                return await self.refuse() or CallEnded(self._never_attached())
            case outcome:
                return outcome

    @property
    def _accepted(self) -> bool:
        """Whether the call is known to be accepted; a browser's call always is."""
        return self.notice.transport != "sip" or self._record.accepted_at is not None

    def _never_attached(self) -> EndReason:
        """Say why there was nothing to attach to."""
        if self._missed and not self._accepted:
            return EndReason.MISSED
        if not self.takeover.first_owner:
            return EndReason.CALLER_HUNG_UP
        return EndReason.NEVER_ATTACHED if self._accepted else EndReason.NOT_ACCEPTED

    # Refuse the call.

    async def _reject(self, status_code: int) -> Outcome | None:
        """Refuse the call; None when somebody may be talking already.

        A browser's call does not ring, so that it is hung up.
        """
        if self.notice.transport == "sip":
            maybe_accepted = self.takeover.maybe_accepted
            return await self.signalling.reject(self.notice.call_id, status_code, maybe_accepted=maybe_accepted)
        if await self.signalling.hang_up(self.notice):
            return CallEnded(EndReason.REJECTED)
        return PassOn("the call could not be hung up")

    async def refuse(self) -> PassOn | None:
        """Refuse or hang up a call that nobody can serve.

        Returns `PassOn` when it may still ring.
        """
        ringing = self.notice.transport == "sip" and self._record.accepted_at is None
        refused = await self._reject(UNAVAILABLE) if ringing else None
        if refused is None:
            await self.signalling.hang_up(self.notice)
        return refused if isinstance(refused, PassOn) else None
