"""Greet the caller, once in the call's life, whoever owns it.

Where the agent wants that, nobody can interrupt it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from supervisor.agents.session import update_body
from supervisor.calls.call_control import SPEECH_SECONDS, AttachedCallControl
from supervisor.calls.services import CallContext

log = structlog.get_logger()

FLUSH_SECONDS = 1.0  # how long the caller waits for the store before the greeting


@dataclass(eq=False, slots=True, repr=False)
class Greeting:
    """The greeting of one call, as its present owner sees it."""

    context: CallContext
    control: AttachedCallControl

    @property
    def due(self) -> bool:
        """Whether nobody has greeted yet, as far as is known.

        While the record is out of reach, Pub/Sub's count of deliveries tells of earlier owners.
        """
        handle = self.context.handle
        nobody_knows = handle.provisional and self.context.claim.delivery_attempt > 1
        return self.context.agent.greeting is not None and handle.record.greeted_at is None and not nobody_knows

    def first_session(self) -> dict[str, Any]:
        """Make the session to attach with.

        It is deaf to the caller's voice, if nothing may interrupt the greeting that follows.
        """
        session = self._session()
        if not (self.due and self.context.agent.greeting_uninterruptible):
            return session
        audio = session.get("audio") or {}
        deaf_input = {**(audio.get("input") or {}), "turn_detection": None}
        return {**session, "audio": {**audio, "input": deaf_input}}

    def _session(self) -> dict[str, Any]:
        """Make the session as it is once the caller may interrupt."""
        agent, changes = self.context.agent, self.context.handle.record.session
        names_turn_detection = agent.greeting_uninterruptible
        return update_body(agent.session, agent.tools, changes, names_turn_detection=names_turn_detection)

    async def greet(self) -> None:
        """Greet, if that is due.

        That it is done is written before, so that no later owner does it again.
        """
        if not self.due:
            return
        agent, handle = self.context.agent, self.context.handle
        handle.record.greeted_at = now = time.time()
        handle.changed()
        durable = await handle.flush(FLUSH_SECONDS)
        greeted_by_us = handle.record.greeted_at == now  # else the record was out of reach, and tells now who did
        if greeted_by_us and (durable or self.context.claim.delivery_attempt <= 1):
            await self.control.respond({"instructions": agent.greeting})
            log.info("greeted")
            if agent.greeting_uninterruptible:
                self.context.tasks.spawn(self._listen_after_greeting(), "listen again after the greeting")
        elif agent.greeting_uninterruptible:
            await self._listen()

    async def _listen_after_greeting(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SPEECH_SECONDS):
                await self.control.silence()
        await self._listen()

    async def _listen(self) -> None:
        """Let the caller interrupt from now on."""
        await self.control.send({"type": "session.update", "session": self._session()})
