"""Holding one call, from its claim to its end: open the record, accept, attach, run, re-attach, settle.

The claim is the permission: every frame passes `Holder.send`, which asks the claim first, and a lost claim ends all of
this at once by way of the fence. What is said and done is decided in `conversation`; this is its I/O.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from pydantic import ValidationError
from structlog.contextvars import bind_contextvars
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from function.notice import CallNotice
from supervisor.agent import Agent
from supervisor.call import Call
from supervisor.claims import Claim, Claims
from supervisor.control import Control
from supervisor.conversation import Action, Answered, Conversation, Event, Expired, RunTool, Said, Send, Used
from supervisor.errors import (
    AttachError,
    ControlError,
    EventError,
    NoticeError,
    Operation,
    SidebandClosed,
    Verdict,
    Where,
    verdict,
)
from supervisor.records import CallRecord, EndReason, MemoryStore
from supervisor.records.record import Segment
from supervisor.sideband import Sideband, attach
from supervisor.tools import error_output

log = structlog.get_logger()

ACCEPT_SECONDS = 20.0  # a caller rarely lets it ring longer
FIRST_ATTACH_SECONDS = {"sip": 10.0, "webrtc": 30.0}  # a 404 may mean "not yet" for this long (reference 3.3)
REATTACH_SECONDS = 30.0  # after that another supervisor may have more luck
CONFIGURE_SECONDS = 5.0
SETTLE_SECONDS = 5.0  # what running tools get when the call is over
CONTROL_SECONDS = 15.0  # for hanging up and refusing: worth many tries, since an orphaned call is billed
ATTACH_AFTER_REFUSAL_SECONDS = 2.0
SERVICE_UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class House:
    """What all calls of this process share."""

    agent: Agent
    claims: Claims
    control: Control
    store: MemoryStore
    websocket_base_url: str
    bearer: str
    user_agent: str


class CallOver(Exception):
    """The call has ended; carries the reason."""

    def __init__(self, reason: EndReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class HandOver(Exception):
    """This supervisor can't go on with the call; another may."""


@dataclass(eq=False, slots=True)
class Holder:
    """Keeps one call for as long as this process has its claim."""

    house: House
    claim: Claim
    conversation: Conversation = field(default_factory=Conversation)
    _sideband: Sideband | None = field(default=None, init=False)
    _call: Call = field(init=False)
    _record: CallRecord = field(init=False)
    _tools: asyncio.TaskGroup = field(init=False)
    _running: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _accept_refused: bool = field(default=False, init=False)
    _ending: EndReason | None = field(default=None, init=False)
    """Why the call is about to end, when we know before its socket closes."""

    async def hold(self) -> None:
        """Hold the call until it is over, or until the claim is lost.

        Raises:
            NoticeError: the message is not a CallNotice.
        """
        try:
            async with asyncio.timeout(None) as fence:
                self.claim.on_lost = lambda: fence.reschedule(asyncio.get_running_loop().time())
                await self._hold()
        except TimeoutError:
            if not fence.expired():
                raise
            log.warning("call_dropped", reason="the claim was lost; its new owner goes on")
        finally:
            if self._sideband is not None:
                self._sideband.abort()

    async def _hold(self) -> None:
        try:
            notice = CallNotice.parse(self.claim.data)
        except ValidationError as error:
            raise NoticeError(
                f"message {self.claim.message_id} is not a CallNotice: {error.error_count()} problems"
            ) from error
        bind_contextvars(call_id=notice.call_id)
        self._record = await self.house.store.open(notice.call_id, self.claim.message_id)
        if self._record.message_id != self.claim.message_id or self._record.end_reason:
            log.info("notice_dropped", reason="the call is owned by another notice, or has ended")
            await self.house.claims.ack(self.claim)
            return
        self._call = Call(notice, self, self._record.state)
        log.info("claimed", delivery_attempt=self.claim.delivery_attempt, epoch=self._record.epoch)
        try:
            if notice.transport == "sip":
                await self._accept()
            await self._run()
        except CallOver as over:
            await self._settle(over.reason)
        except HandOver as cause:
            log.warning("handed_over", reason=str(cause))
            await self.house.claims.release([self.claim], after_seconds=1)

    # Accept and attach.

    @property
    def _first_owner(self) -> bool:
        """Whether nobody held this call before, by the record and , should it be gone, by Pub/Sub."""
        return self._record.epoch == 1 and self.claim.delivery_attempt <= 1

    async def _accept(self) -> None:
        """Take the SIP call, unless an earlier owner did. Unless it is gone, the attach shows whether it lives."""
        if self._record.accepted_at is not None:
            return
        try:
            async for attempt in _retries("accept", ACCEPT_SECONDS):
                with attempt:
                    await self.house.control.accept(self._call.call_id, self.house.agent.accept_body())
        except ControlError as error:
            outcome = verdict("accept", error.status)
            if outcome is Verdict.HAND_OVER:
                raise HandOver(str(error)) from error
            if outcome is Verdict.OVER and self._first_owner:
                raise CallOver(EndReason.MISSED) from error
            self._accept_refused = True
            log.warning("accept_refused", status=error.status, code=error.code, error=str(error))
        else:
            log.info("accepted")
            self._record.accepted_at = time.time()
            await self.house.store.save(self._record)

    async def _attach(self) -> Sideband:
        """Open a sideband; what follows when OpenAI refuses is in the table of `errors`."""
        where: Where = "reattach" if self._record.attached_at else "attach"
        within_seconds = REATTACH_SECONDS if where == "reattach" else FIRST_ATTACH_SECONDS[self._call.notice.transport]
        if self._accept_refused:
            within_seconds = ATTACH_AFTER_REFUSAL_SECONDS
        house = self.house
        try:
            async for attempt in _retries(where, within_seconds):
                with attempt:
                    return await attach(
                        house.websocket_base_url, self._call.call_id, bearer=house.bearer, user_agent=house.user_agent
                    )
        except AttachError as error:
            if verdict(where, error.status) is Verdict.OVER:
                raise CallOver(self._ending or EndReason.CALLER_HUNG_UP) from error
            if error.status == HTTPStatus.NOT_FOUND:
                raise CallOver(await self._give_up()) from error
            raise HandOver(str(error)) from error
        raise AssertionError("unreachable: the last try raises")

    async def _give_up(self) -> EndReason:
        """The call was never there to attach to: leave nobody ringing or talking to nobody."""
        if not self._first_owner:
            return EndReason.CALLER_HUNG_UP
        if self._accept_refused:
            await self._tell("reject", lambda: self.house.control.reject(self._call.call_id, SERVICE_UNAVAILABLE))
            return EndReason.NOT_ACCEPTED
        await self._tell("hangup", lambda: self.house.control.hangup(self._call.call_id))
        return EndReason.NEVER_ATTACHED

    # Run.

    async def _run(self) -> None:
        """Stay attached until the call is over; tools run beside."""
        async with asyncio.TaskGroup() as self._tools:
            try:
                while True:
                    await self._stay_attached()
            except (CallOver, HandOver) as outcome:
                ended = outcome  # raised outside, since a task group would wrap it
            await self._finish_tools()
        raise ended

    async def _stay_attached(self) -> None:
        """Attach, configure, greet if nobody did, and follow the conversation until the socket is lost."""
        sideband = self._sideband = await self._attach()
        log.info("attached", again=self._record.attached_at is not None)
        try:
            self._record.attached_at = self._record.attached_at or time.time()
            await self.house.store.save(self._record)
            await self._configure(sideband)
            await self._perform(self.conversation.attached())
            await self._greet()
            while True:
                await self._receive(sideband)
        except SidebandClosed as closed:
            log.info("sideband_closed", code=closed.code, reason=closed.reason)
        finally:
            self._sideband = None
            sideband.abort()

    async def _configure(self, sideband: Sideband) -> None:
        """Send the session and wait for its echo, which alone proves a live call (reference 2.1, 3.4)."""
        await self.send(
            {"type": "session.update", "event_id": "sb_configure", "session": self.house.agent.update_body()}
        )
        try:
            async with asyncio.timeout(CONFIGURE_SECONDS):
                while True:
                    event = await self._receive(sideband)
                    if event.get("type") == "session.updated":
                        return
                    error = event.get("error") or {}
                    if event.get("type") == "error" and error.get("event_id") == "sb_configure":
                        log.error("session_refused", error=error.get("message"))
                        return
        except TimeoutError:
            log.warning("session_not_confirmed", within_seconds=CONFIGURE_SECONDS)

    async def _greet(self) -> None:
        greeting = self.house.agent.greeting
        if greeting is None or self._record.greeted_at is not None or not self._first_owner:
            return
        self._record.greeted_at = time.time()
        await self.house.store.save(self._record)  # before the greeting, so that no later owner greets again
        await self._perform(self.conversation.respond({"instructions": greeting}))
        log.info("greeted")

    async def _receive(self, sideband: Sideband) -> Event:
        event = await sideband.receive()
        try:
            actions = self.conversation.receive(event)
        except EventError:
            log.exception("event_left_out")
        else:
            if actions:
                await self._perform(actions)
        return event

    async def _perform(self, actions: Sequence[Action]) -> None:
        """Do what the conversation asks. One batch at a time, so that frames leave in the order they were decided."""
        async with self._writing:
            for action in actions:
                match action:
                    case Send(event):
                        await self.send(event)
                    case RunTool():
                        task = self._tools.create_task(self._run_tool(action), name=f"tool {action.tool_call_id}")
                        self._running.add(task)
                        task.add_done_callback(self._running.discard)
                    case Said(item_id, role, text):
                        self._record.transcript.append(Segment(item_id=item_id, role=role, text=text))
                    case Expired():
                        self._ending = EndReason.SESSION_EXPIRED
                    case Answered(tool_call_id):
                        log.debug("tool_answered", tool_call_id=tool_call_id)
                    case Used():
                        pass

    async def send(self, event: Mapping[str, Any]) -> None:
        """Write a client event, if the claim still allows it.

        While no sideband is attached nothing is written: the next attach asks what is missing.
        """
        if self._sideband is None or not self.claim.may_write():
            return
        try:
            await self._sideband.send(event)
        except SidebandClosed as closed:
            log.info(
                "not_written", type=event["type"], code=closed.code
            )  # the reader sees the same, and attaches again

    async def _run_tool(self, action: RunTool) -> None:
        started = time.monotonic()
        tool = self.house.agent.tools.get(action.name)
        if tool is None:
            output = error_output(f"There is no tool named {action.name}.")
        else:
            output = await tool.run(self._call, action.arguments)
        log.info("tool_finished", tool=action.name, ms=round((time.monotonic() - started) * 1000))
        await self._perform(self.conversation.tool_finished(action.tool_call_id, output))

    async def _finish_tools(self) -> None:
        """Let running tools finish, bounded, since the caller is gone but what they do in the world is not."""
        if self._running:
            await asyncio.wait(self._running, timeout=SETTLE_SECONDS)
        for task in self._running:
            log.warning("tool_cancelled", task=task.get_name(), reason="the call is over")
            task.cancel()

    # End.

    async def hang_up(self) -> None:
        """End the call. Terminal: later requests change nothing."""
        if self._ending is None:
            self._ending = EndReason.AGENT_HUNG_UP
            await self._tell("hangup", lambda: self.house.control.hangup(self._call.call_id))

    async def _settle(self, reason: EndReason) -> None:
        """Write the end first and ack second: a crash in between costs one more claim, never the record."""
        self._record.end_reason = reason
        self._record.ended_at = time.time()
        await self.house.store.save(self._record)
        await self.house.claims.ack(self.claim)
        log.info("ended", reason=reason.value)

    async def _tell(self, operation: Operation, request: Callable[[], Awaitable[None]]) -> None:
        """Ask OpenAI to end the call, again if need be; that it is gone already is success."""
        try:
            async for attempt in _retries(operation, CONTROL_SECONDS):
                with attempt:
                    await request()
        except ControlError as error:
            if verdict(operation, error.status) is not Verdict.OVER:
                log.error("control_failed", operation=operation, error=str(error))


def _retries(where: Where, within_seconds: float) -> AsyncRetrying:
    """Try again with jittered back-off, for as long as the table of `errors` says so and there is time."""
    return AsyncRetrying(
        retry=retry_if_exception(
            lambda error: (
                isinstance(error, AttachError | ControlError) and verdict(where, error.status) is Verdict.RETRY
            )
        ),
        wait=wait_random_exponential(multiplier=0.1, max=2.0),
        stop=stop_after_delay(within_seconds),
        reraise=True,
    )
