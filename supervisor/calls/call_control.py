"""What a held call can be made to do: the line behind a `Call`, for agents and rules."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from function.notice import CallNotice
from supervisor.agents.call import TransferFailed
from supervisor.agents.session import merged
from supervisor.calls.services import Services
from supervisor.conversation.actions import Action
from supervisor.conversation.realtime.conversation import ASK_PREFIX, Conversation
from supervisor.errors import ControlError
from supervisor.openai import signalling
from supervisor.openai.retry import with_retry
from supervisor.outcomes import EndReason
from supervisor.records.handle import RecordHandle
from supervisor.transfer_targets import refusal

log = structlog.get_logger()

SPEECH_SECONDS = 12.0  # how long a hang-up waits for what is being said
REFER_SECONDS = 5.0
TRANSFER_SECONDS = 10.0  # a transfer that has not taken the caller away by then has failed (reference 2.1)


@dataclass(eq=False, slots=True, repr=False)
class CallControl:
    """The line of one call, while this process holds it. What it does passes through its owner's one writer."""

    services: Services
    notice: CallNotice
    conversation: Conversation
    handle: RecordHandle
    perform: Callable[[Sequence[Action]], Awaitable[None]]
    write: Callable[[Mapping[str, Any]], Awaitable[None]]
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None] | None]
    """Runs something beside the reader, for as long as the call lives."""
    ending: EndReason | None = None
    """Why we are ending the call, while we are; None again when that did not work."""
    transferring: bool = False
    _no_transfer: str = ""
    """Why the last transfer came to nothing."""
    _silence: asyncio.Event | None = None
    _over: asyncio.Event | None = None
    _answers: dict[str, asyncio.Future[str | None]] = field(default_factory=dict)
    _asked: int = 0

    @property
    def why_over(self) -> EndReason | None:
        """Why the call is over, if it now is, where we know better than that the caller is gone."""
        return self.ending or (EndReason.TRANSFERRED if self.transferring else None)

    async def silence(self) -> None:
        """Wait until the model has nothing more to say, by an event that comes after this."""
        self._silence = self._silence or asyncio.Event()
        self._silence.clear()
        await self._silence.wait()

    def fell_silent(self) -> None:
        """The model has nothing more to say."""
        if self._silence:
            self._silence.set()

    def is_over(self) -> None:
        """The caller is gone, or we are."""
        if self._over:
            self._over.set()

    def told(self, key: str, text: str | None) -> None:
        """The model has answered what `ask` asked."""
        if (answer := self._answers.get(key)) and not answer.done():
            answer.set_result(text)

    async def send(self, event: Mapping[str, Any]) -> None:
        """See `Line`."""
        await self.write(event)

    async def respond(self, response: Mapping[str, Any]) -> None:
        """See `Line`."""
        if self.conversation.responses.full:
            log.warning("not_said", call_id=self.notice.call_id, action="left out: too much is waiting to be said")
            return
        await self.perform(self.conversation.responses.add(response))

    async def fill(self, text: str) -> None:
        """See `rules.CallControl`."""
        if not self.conversation.speaking and not self.conversation.caller_speaking:
            await self.respond({"instructions": f"Say exactly this, and nothing else: {text}", "tool_choice": "none"})

    async def interrupt(self) -> None:
        """See `Line`."""
        await self.perform(self.conversation.interrupt())

    async def approved(self, request_id: str, *, approve: bool) -> None:
        """See `rules.CallControl`."""
        await self.perform(self.conversation.approved(request_id, approve=approve))

    async def ask(self, instructions: str, timeout_seconds: float) -> str:
        """See `Line`."""
        self._asked += 1
        key = f"{ASK_PREFIX}{self._asked}"
        answer = self._answers[key] = asyncio.get_running_loop().create_future()
        try:
            await self.perform(self.conversation.ask(key, instructions))
            async with asyncio.timeout(timeout_seconds):
                return await answer or ""
        finally:
            del self._answers[key]

    async def update(self, session: Mapping[str, Any]) -> None:
        """See `Line`."""
        self.handle.record.session = merged(self.handle.record.session, session)
        self.handle.changed()
        await self.send({"type": "session.update", "session": {**session, "type": "realtime"}})

    async def hang_up(self, *, after_speech: bool) -> None:
        """End the call. Terminal: later requests change nothing."""
        await self.end(EndReason.AGENT_HUNG_UP, goodbye=None, after_speech=after_speech)

    async def end(self, reason: EndReason, *, goodbye: str | None, after_speech: bool = True) -> None:
        """Hang up for a reason, after a last response and what is being said; one request at a time counts.

        It goes on when whoever asked for it is cancelled, such as a tool that took too long.
        """
        if self.ending is None and not self.transferring:
            self.ending = reason
            if ending := self.spawn(self._end(goodbye, after_speech=after_speech), "end the call"):
                await asyncio.wait([ending])

    async def _end(self, goodbye: str | None, *, after_speech: bool) -> None:
        ended = False
        try:
            if goodbye:
                await self.respond({"instructions": goodbye, "tool_choice": "none"})
            with suppress(TimeoutError):
                async with asyncio.timeout(SPEECH_SECONDS if after_speech else 0):
                    while self.conversation.speaking:
                        await self.silence()
            ended = await signalling.hang_up(self.services, self.notice)
        except asyncio.CancelledError:
            ended = True  # the call is over, or no longer ours
            raise
        finally:
            if not ended:
                self.ending = None  # it may be asked for again

    async def transfer(self, target_uri: str) -> None:
        """Refer the call, and see whether that takes the caller away; a 200 from OpenAI alone says nothing.

        As `end`, it goes on when whoever asked for it is cancelled.
        """
        if problem := refusal(target_uri, self.services.transfer_targets):
            raise TransferFailed(f"no transfer to {target_uri}: {problem}")
        if self.notice.transport != "sip":
            raise TransferFailed("only SIP calls can be transferred")
        if self.ending or self.transferring:
            raise TransferFailed("the call is being ended or transferred already")
        self.transferring, self._no_transfer = True, "the call is over"
        if referring := self.spawn(self._refer(target_uri), "transfer"):
            await asyncio.wait([referring])
        if referring is None or not self.transferring:
            self.transferring = False
            raise TransferFailed(f"no transfer to {target_uri}: {self._no_transfer}")

    async def _refer(self, target_uri: str) -> None:
        call_id = self.notice.call_id
        self._over = asyncio.Event()
        try:
            await with_retry("refer", REFER_SECONDS, lambda: self.services.rest.refer(call_id, target_uri))
            async with asyncio.timeout(TRANSFER_SECONDS):
                await self._over.wait()
        except (ControlError, TimeoutError) as error:
            self._no_transfer = str(error) or f"the caller was still here after {TRANSFER_SECONDS:.0f} s"
            log.warning("not_transferred", cause=self._no_transfer)
        finally:
            self.transferring = self._over.is_set()
