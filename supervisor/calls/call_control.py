"""Call control in an attached call.

The agent, its policies and the greeting use it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from supervisor.agents.call import TransferFailed
from supervisor.agents.session import merged
from supervisor.calls.services import CallContext
from supervisor.conversation.actions import Send
from supervisor.conversation.realtime.conversation import ASK_PREFIX
from supervisor.errors import ControlError
from supervisor.outcomes import EndReason
from supervisor.transfer_targets import refusal

T = TypeVar("T")

log = structlog.get_logger()

CLOCKS_APART_SECONDS = 2.0  # OpenAI's clock and ours; that a session expires is told by OpenAI's
SPEECH_SECONDS = 12.0  # how long a hang-up waits for what is being said
TRANSFER_SECONDS = 10.0  # a transfer that has not taken the caller away by then has failed (openai-realtime.md#refer)


@dataclass(frozen=True, slots=True)
class Transferred:
    """The caller has left for the target of the transfer."""


@dataclass(frozen=True, slots=True)
class NotTransferred:
    """The caller is still here."""

    why: str


@dataclass(eq=False, slots=True, repr=False)
class AttachedCallControl:
    """The `CallControl` of an attached call.

    Policies, tools and the greeting have more methods here than users have.
    """

    context: CallContext
    _ending: EndReason | None = None
    """Why we are ending the call, while we are; None again when that did not work."""
    _transfer: asyncio.Task[Transferred | NotTransferred | None] | None = None
    """The transfer that is under way, or has taken the caller away."""
    _caller_gone: asyncio.Event | None = None
    """Made by a transfer, which waits for it."""
    _silent: asyncio.Event | None = None
    """Made when somebody waits for silence."""
    _answers: dict[str, asyncio.Future[str | None]] = field(default_factory=dict)
    """Of out-of-band questions that are open, by their keys."""
    _asked: int = 0

    async def send(self, event: Mapping[str, Any]) -> None:
        """Write a client event to the sideband."""
        await self.context.writer.write([Send(dict(event))])

    async def respond(self, response: Mapping[str, Any]) -> None:
        """Have the model speak, as soon as nothing else is being said.

        When too much waits already it is left out, and logged.
        """
        if self.context.conversation.responses.full:
            call_id = self.context.notice.call_id
            log.warning("not_said", call_id=call_id, action="left out: too much is waiting to be said")
            return
        await self.context.writer.write(self.context.conversation.responses.add(response))

    async def fill(self, text: str) -> None:
        """Have the model say this, unless somebody speaks."""
        conversation = self.context.conversation
        if not conversation.speaking and not conversation.caller_speaking:
            await self.respond({"instructions": f"Say exactly this, and nothing else: {text}", "tool_choice": "none"})

    async def interrupt(self) -> None:
        """Stop what is being said."""
        await self.context.writer.write(self.context.conversation.interrupt())

    async def approved(self, request_id: str, *, approve: bool) -> None:
        """Answer an approval request of a hosted MCP tool."""
        await self.context.writer.write(self.context.conversation.approved(request_id, approve=approve))

    async def update(self, session: Mapping[str, Any]) -> None:
        """Change the session, also for later owners of the call."""
        handle = self.context.handle
        handle.record.session = merged(handle.record.session, session)
        handle.changed()
        await self.send({"type": "session.update", "session": {**session, "type": "realtime"}})

    # Out-of-band questions.

    async def ask(self, instructions: str, timeout_seconds: float) -> str:
        """Ask the model something that the caller does not hear.

        The answer is empty where the model has none.

        Raises:
            TimeoutError: no answer came in time.
        """
        self._asked += 1
        key = f"{ASK_PREFIX}{self._asked}"
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        try:
            await self.context.writer.write(self.context.conversation.ask(key, instructions))
            async with asyncio.timeout(timeout_seconds):
                return await answer or ""
        finally:
            del self._answers[key]

    def on_answer(self, key: str, text: str | None) -> None:
        """Give the model's answer to whoever asked."""
        if (answer := self._answers.get(key)) and not answer.done():
            answer.set_result(text)

    # Silence.

    async def silence(self) -> None:
        """Wait until an event shows that the model has nothing more to say."""
        self._silent = self._silent or asyncio.Event()
        self._silent.clear()
        await self._silent.wait()

    def on_silence(self) -> None:
        """Wake those who wait for silence: the model has nothing more to say."""
        if self._silent:
            self._silent.set()

    # Ending the call.

    async def hang_up(self, *, after_speech: bool) -> None:
        """End the call. Terminal: later requests change nothing."""
        await self.end(EndReason.AGENT_HUNG_UP, goodbye=None, after_speech=after_speech)

    async def end(self, reason: EndReason, *, goodbye: str | None, after_speech: bool = True) -> None:
        """Hang up for a reason, after a goodbye and what is being said.

        One request at a time counts.

        It goes on when whoever asked for it is cancelled, such as a tool that took too long.
        """
        if self._ending is None and self._transfer is None:
            self._ending = reason
            await _result(self.context.tasks.spawn(self._end(goodbye, after_speech=after_speech), "end the call"))

    async def _end(self, goodbye: str | None, *, after_speech: bool) -> None:
        ended = False
        try:
            if goodbye:
                await self.respond({"instructions": goodbye, "tool_choice": "none"})
            with suppress(TimeoutError):
                async with asyncio.timeout(SPEECH_SECONDS if after_speech else 0):
                    while self.context.conversation.speaking:
                        await self.silence()
            ended = await self.context.signalling.hang_up(self.context.notice)
        except asyncio.CancelledError:
            ended = True  # the call is over, or no longer ours
            raise
        finally:
            if not ended:
                self._ending = None  # it may be asked for again

    def on_session_expired(self) -> None:
        """Note that OpenAI ends the call, at its limit of 60 minutes."""
        self._ending = EndReason.SESSION_EXPIRED

    @property
    def hanging_up(self) -> bool:
        """Whether we are hanging up.

        OpenAI should not know the call any more then.
        """
        return self._ending not in {None, EndReason.SESSION_EXPIRED}

    @property
    def why_over(self) -> EndReason:
        """Why the call is over, now that OpenAI no longer knows it."""
        if self._ending:
            return self._ending
        if self._transfer:
            return EndReason.TRANSFERRED
        expires_at = self.context.handle.record.expires_at
        expired = expires_at is not None and time.time() >= expires_at - CLOCKS_APART_SECONDS
        return EndReason.SESSION_EXPIRED if expired else EndReason.CALLER_HUNG_UP

    # Transferring the caller.

    async def transfer(self, target_uri: str) -> None:
        """Refer the call, and wait until that has taken the caller away.

        As `end`, it goes on when whoever asked for it is cancelled.

        Raises:
            TransferFailed: the target is not allowed, OpenAI refused, or the caller is still here after some seconds.
        """
        if problem := refusal(target_uri, self.context.services.transfer_targets):
            raise TransferFailed(f"no transfer to {target_uri}: {problem}")
        if self.context.notice.transport != "sip":
            raise TransferFailed("only SIP calls can be transferred")
        if self._ending or self._transfer:
            raise TransferFailed("the call is being ended or transferred already")
        self._transfer = self.context.tasks.spawn(self._refer(target_uri), "transfer")
        match await _result(self._transfer):
            case NotTransferred(why):
                raise TransferFailed(f"no transfer to {target_uri}: {why}")
            case None:
                raise TransferFailed(f"no transfer to {target_uri}: the call is over")

    async def _refer(self, target_uri: str) -> Transferred | NotTransferred:
        """Refer the call, and see whether the caller goes.

        OpenAI's 200 alone says nothing.
        """
        gone = self._caller_gone = asyncio.Event()
        try:
            await self.context.signalling.refer(self.context.notice.call_id, target_uri)
            async with asyncio.timeout(TRANSFER_SECONDS):
                await gone.wait()
        except (ControlError, TimeoutError) as error:
            why = str(error) or f"the caller was still here after {TRANSFER_SECONDS:.0f} s"
            log.warning("not_transferred", cause=why)
            return NotTransferred(why)
        finally:
            if not gone.is_set():
                self._transfer = None  # it may be asked for again
        return Transferred()

    def on_call_over(self) -> None:
        """Let a transfer know that the caller is gone."""
        if self._caller_gone:
            self._caller_gone.set()


async def _result(task: asyncio.Task[T | None] | None) -> T | None:
    """Wait for a task's result; None when it has none, or did not start.

    When whoever waits is cancelled, the task goes on.
    """
    if task is None:
        return None
    await asyncio.wait([task])
    return None if task.cancelled() else task.result()
