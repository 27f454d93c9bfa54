"""Run one call that is ours: attach, configure, greet, follow the conversation.

After a lost socket it attaches again.

What is said and done is decided in `conversation`; this is its I/O. The reader takes one event after the other; tools,
policies and handlers run in tasks of their own; and every frame passes the call's `FrameWriter`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from supervisor.agents.call import Call
from supervisor.calls.call_control import AttachedCallControl
from supervisor.calls.greeting import Greeting
from supervisor.calls.policies import CallPolicies
from supervisor.calls.services import CallContext
from supervisor.calls.takeover import OVERLAP_SECONDS, Takeover
from supervisor.calls.tool_runner import ToolRunner
from supervisor.conversation.actions import (
    Action,
    Answered,
    Event,
    OutOfBandAnswer,
    PlaybackEnded,
    Report,
    RunTool,
    Send,
    SessionExpired,
)
from supervisor.conversation.realtime.conversation import Conversation
from supervisor.errors import EventError, SidebandClosed
from supervisor.openai.sideband import Sideband
from supervisor.outcomes import CallEnded, Outcome, PassOn
from supervisor.telemetry.tracing import traced

log = structlog.get_logger()

CONFIGURE_SECONDS = 5.0
SILENCE_SECONDS = 4.0  # after an attach that may have missed something, before the model is asked to go on
STABLE_SECONDS = 30.0  # a socket that lasted this long is not counted with the losses before it
MOST_LOSSES = 8  # sockets lost one after the other, before another supervisor may try
UNANSWERED_SECONDS = 5.0  # a response that was asked for begins, or is refused, long before
PING_SECONDS = 5.0  # between pings; a connection that leaves one unanswered until the next is dead
SHOWN_SECONDS = 3.0  # OpenAI shows an output at once; after this long, pings follow each other as fast
LAST_TOOLS_SECONDS = 5.0  # what running tools get when the call is over
EXPIRING_SECONDS = 120.0  # before OpenAI's limit, when the agent's `on_expiring` is called

CONFIGURE_EVENT_ID = "sb_configure"


@dataclass(eq=False, slots=True, repr=False)
class AttachedCall:
    """One call, from when it is ours until it is over, or another's."""

    context: CallContext
    call: Call
    """As the agent's code sees it."""
    _control: AttachedCallControl
    _tools: ToolRunner
    _policies: CallPolicies
    _greeting: Greeting
    _takeover: Takeover
    _may_have_missed: bool = False
    """Whether something may have been said or asked for while nobody was attached."""
    _unanswered: tuple[str | None, float] = (None, 0.0)
    """The event id of the request for a response that is open, and since when."""
    _pinged_at: float = 0.0
    _unshown_since: float | None = None
    """Since when there is an output that OpenAI has not shown."""
    _next_owner_attached: asyncio.Event | None = None

    @classmethod
    def of(cls, context: CallContext, takeover: Takeover) -> AttachedCall:
        """Make a call and all that acts in it; nothing happens before `run`."""
        control = AttachedCallControl(context)
        call = Call(context.notice, control, context.handle.record.state, context.inputs)
        tools, policies = ToolRunner(context, call, control), CallPolicies(context, call, control)
        return cls(context, call, control, tools, policies, Greeting(context, control), takeover)

    @property
    def _conversation(self) -> Conversation:
        return self.context.conversation

    @property
    def busy(self) -> bool:
        """Whether a word or an answer is on its way."""
        return self._conversation.busy

    @traced("hold the call")
    async def run(self) -> Outcome:
        """Stay attached until there is an outcome."""
        async with self.context.tasks:
            try:
                outcome = await self._follow()
                call_over = isinstance(outcome, CallEnded)
                self.context.handle.record.transcript_cut = call_over and self.busy
                if call_over:
                    self._control.on_call_over()
                await self._tools.finish(LAST_TOOLS_SECONDS)
                return outcome
            finally:
                self._tools.abandon()

    async def _follow(self) -> Outcome:
        """Attach, and attach again after each lost socket."""
        await self._perform(self._conversation.tool_calls.restore(self._tools.inherit()))
        losses = 0
        while losses < MOST_LOSSES:
            started = time.monotonic()
            sideband = self.context.writer.sideband or await self._reattach()
            if not isinstance(sideband, Sideband):
                return sideband
            if losses == 0:
                self._may_have_missed = self._takeover.may_have_missed(time.time())
            await self._stay_attached(sideband)
            losses = losses + 1 if time.monotonic() - started < STABLE_SECONDS else 1
            await asyncio.sleep(_backoff_seconds(losses))
        return PassOn(f"{losses} sockets were lost one after the other")

    async def _reattach(self) -> Sideband | Outcome:
        """Attach again; a call that OpenAI no longer knows is over."""
        if not await self.context.claim.verdict():
            return PassOn("the next owner attaches")
        signalling, notice = self.context.signalling, self.context.notice
        attached = await signalling.reattach(notice)
        if isinstance(attached, CallEnded):
            return CallEnded(self._control.why_over)
        if isinstance(attached, Sideband) and self._control.hanging_up:
            self.context.writer.attach(attached)  # so that it is dropped, whatever ends the call meanwhile
            await signalling.hang_up(notice)
        return attached

    async def _stay_attached(self, sideband: Sideband) -> None:
        """Configure, greet, and follow the conversation until the socket is lost."""
        self.context.writer.attach(sideband)
        self._note_attached()
        sideband.skim(self._reads)
        try:
            await self._configure(sideband)
            await self._perform(self._conversation.attached())
            await self._greeting.greet()
            if self._may_have_missed:
                self.context.tasks.spawn(self._break_silence(), "break the silence")
            while True:
                await self._receive(sideband)
        except SidebandClosed as closed:
            log.info("sideband_closed", code=closed.code, reason=closed.reason)
            self._may_have_missed = self.busy
        finally:
            self.context.writer.detach()

    def _note_attached(self) -> None:
        """Write down that we are attached."""
        record, now = self.context.handle.record, time.time()
        log.info("attached", again=record.attached_at is not None)
        self._pinged_at = now - random.uniform(0, PING_SECONDS)  # noqa: S311 - so that not all ping at once
        record.attached_at = record.attached_at or now
        record.accepted_at = record.accepted_at or now  # by whomever: a browser, or a dead owner
        self.context.handle.changed()

    async def _configure(self, sideband: Sideband) -> None:
        """Send the session and wait for its echo.

        The echo alone proves that the call lives (openai-realtime.md#accept, openai-realtime.md#first-events).
        """
        session = self._greeting.first_session()
        await self.context.writer.write(
            [Send({"type": "session.update", "event_id": CONFIGURE_EVENT_ID, "session": session})]
        )
        try:
            async with asyncio.timeout(CONFIGURE_SECONDS):
                while not self._configured_by(await self._receive(sideband)):
                    pass
        except TimeoutError:
            log.warning("session_not_confirmed", within_seconds=CONFIGURE_SECONDS)

    def _configured_by(self, event: Event) -> bool:
        """Tell whether an event answers our session: its echo, or a refusal."""
        error = event.get("error") or {}
        if event.get("type") == "error" and error.get("event_id") == CONFIGURE_EVENT_ID:
            log.error("session_refused", error=error.get("message"))
            return True
        if event.get("type") != "session.updated":
            return False
        expires_at = (event.get("session") or {}).get("expires_at")
        record = self.context.handle.record
        if isinstance(expires_at, int | float) and expires_at != record.expires_at:
            record.expires_at = expires_at
            self.context.handle.changed()
        return True

    async def _break_silence(self) -> None:
        """Ask the model to go on, if all stays silent for some seconds.

        What it was asked while nobody was attached is lost (openai-realtime.md#no-replay).
        """
        self._may_have_missed = False
        await asyncio.sleep(SILENCE_SECONDS)
        if not self._conversation.alive:
            log.info("silence_broken")
            await self._perform(self._conversation.break_silence())

    # Events in, actions out.

    def _reads(self, type_: str) -> bool:
        """Tell whether anybody reads events of this type now."""
        return self._conversation.reads(type_) or type_ in self.context.inputs.handlers or type_ == "session.updated"

    async def _receive(self, sideband: Sideband) -> Event:
        """Take one event, and do what it asks for."""
        event = await sideband.receive()
        try:
            actions = self._conversation.receive(event)
        except EventError:
            log.exception("event_left_out")
            return event
        if not self._conversation.speaking:
            self._control.on_silence()
        await self._perform(actions)
        for handler in self.context.inputs.handlers.get(event.get("type", ""), ()):
            self.context.tasks.spawn(self.context.call_handler(handler, event), "handler")
        if self._next_owner_attached and self.context.claim.lost and event.get("type") == "session.updated":
            self._next_owner_attached.set()
        return event

    async def _perform(self, actions: Sequence[Action]) -> None:
        """Carry commands out, and pass reports on.

        The frames leave together, in the order in which they were decided.
        """
        frames: list[Send] = []
        for action in actions:
            match action:
                case Send():
                    frames.append(action)
                case RunTool():
                    self._tools.start(action)
                case _:
                    self._report(action)
        await self.context.writer.write(frames)

    def _report(self, report: Report) -> None:
        """Pass a report on to whom it concerns."""
        match report:
            case Answered(tool_call_id):
                self._tools.confirm(tool_call_id)
            case OutOfBandAnswer(key, text):
                self._control.on_answer(key, text)
            case PlaybackEnded():
                self._control.on_silence()
            case SessionExpired():
                self._control.on_session_expired()
        try:
            self._policies.on_report(report)
        except (AttributeError, TypeError, ValueError):  # what OpenAI says is not of the documented kind
            log.exception("report_left_out", kind=type(report).__name__)

    # What is due by the clock, and what the record tells late.

    def tick(self, now: float) -> None:
        """Do what is due; called about once a second with the Unix time."""
        if not self.context.tasks.open:
            return
        self._check_connection(now)
        self._check_unanswered(now)
        self.context.handle.record.items = self._conversation.items
        talking = self.busy or self._conversation.playing  # audio plays long after its response is done
        self._policies.tick(now, busy=talking, caller_heard=self._conversation.caller_heard)
        self._check_expiring(now)

    def _check_connection(self, now: float) -> None:
        """Ping the sideband, which drops one that is dead.

        An output that OpenAI does not show may mean that, and asks for more pings.
        """
        if self._conversation.tool_calls.all_shown:
            self._unshown_since = None
        elif self._unshown_since is None:
            self._unshown_since = now
        late = self._unshown_since is not None and now - self._unshown_since >= SHOWN_SECONDS
        sideband = self.context.writer.sideband
        if sideband and now - self._pinged_at >= (SHOWN_SECONDS if late else PING_SECONDS):
            self._pinged_at = now
            self.context.tasks.spawn(sideband.ping(), "ping")

    def _check_unanswered(self, now: float) -> None:
        """Ask again for a response of which nothing was heard for too long."""
        request, (noted, since) = self._conversation.responses.requested, self._unanswered
        if request is None or request != noted:
            self._unanswered = (request, now)
        elif now - since > UNANSWERED_SECONDS:
            log.warning("response_unanswered", event_id=request)
            self.context.tasks.spawn(self._ask_again(), "ask again")

    async def _ask_again(self) -> None:
        await self._perform(self._conversation.responses.retry())

    def _check_expiring(self, now: float) -> None:
        """Call the agent's `on_expiring` handlers, once, when OpenAI's limit is near."""
        record = self.context.handle.record
        if record.expires_at and not record.expiring_told and now >= record.expires_at - EXPIRING_SECONDS:
            record.expiring_told = True
            self.context.handle.changed()
            for handler in self.context.agent.handlers.expiring:
                self.context.tasks.spawn(self.context.call_handler(handler, self.call), "on_expiring")

    def learn(self) -> None:
        """Take over the tool calls that a record opened late tells of."""
        self.context.tasks.spawn(self._learn(), "learn what was left")

    async def _learn(self) -> None:
        inherited = self._tools.inherit(known=self._conversation.tool_calls.by_id)
        await self._perform(self._conversation.tool_calls.restore_late(inherited))

    # Let another have it.

    async def wind_down(self, tools_seconds: float) -> None:
        """Let running tools finish for some seconds.

        New tool calls are only written down, for the next owner.
        """
        self._tools.draining = True
        await self._tools.finish(tools_seconds)
        self._next_owner_attached = asyncio.Event()  # made here: most calls never need it, and it is large

    async def overlap(self) -> None:
        """Listen, without a claim to write, until the next owner is attached."""
        if self.context.tasks.open:
            attached = self._next_owner_attached = self._next_owner_attached or asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(OVERLAP_SECONDS):
                    await attached.wait()


def _backoff_seconds(losses: int) -> float:
    """Draw a pause with full jitter, longer with each loss.

    At most 0.1 s after the first, doubled with each further one, and at most 5 s.
    """
    return random.uniform(0, min(5.0, 0.05 * 2**losses))  # noqa: S311 - jitter, not a secret
