"""Greeting the caller: once in the call's life, whoever owns it, and where the agent wants that, uninterrupted."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from supervisor.agents.agent import Agent
from supervisor.agents.session import update_body
from supervisor.calls.call_control import SPEECH_SECONDS, CallControl
from supervisor.claims import Claim
from supervisor.records.handle import RecordHandle

log = structlog.get_logger()

FLUSH_SECONDS = 1.0


@dataclass(eq=False, slots=True, repr=False)
class Greeting:
    """The greeting of one call, as its present owner sees it."""

    agent: Agent
    claim: Claim
    handle: RecordHandle
    line: CallControl

    @property
    def due(self) -> bool:
        """Whether nobody has greeted yet, as far as the record or, while it is out of reach, Pub/Sub knows."""
        nobody_knows = self.handle.provisional and self.claim.delivery_attempt > 1
        return self.agent.greeting is not None and self.handle.record.greeted_at is None and not nobody_knows

    def session(self) -> dict[str, Any]:
        """The session to attach with: the caller's voice is not listened to while nothing may interrupt."""
        session = self._session()
        if not (self.due and self.agent.greeting_uninterruptible):
            return session
        audio = session.get("audio") or {}
        silent_input = {**(audio.get("input") or {}), "turn_detection": None}
        return {**session, "audio": {**audio, "input": silent_input}}

    def _session(self) -> dict[str, Any]:
        """Return the session as it is once nothing hinders the caller from interrupting."""
        agent, changes = self.agent, self.handle.record.session
        names_turn_detection = agent.greeting_uninterruptible
        return update_body(agent.session, agent.tools, changes, names_turn_detection=names_turn_detection)

    async def greet(self) -> None:
        """Greet, if it is due: that it is done is written before, so that no later owner does it again."""
        if not self.due:
            return
        record = self.handle.record
        record.greeted_at = now = time.time()
        self.handle.changed()
        durable = await self.handle.flush(FLUSH_SECONDS)
        greeted_by_us = record.greeted_at == now  # else the record was out of reach, and tells now who did
        if greeted_by_us and (durable or self.claim.delivery_attempt <= 1):
            await self.line.respond({"instructions": self.agent.greeting})
            log.info("greeted")
            if self.agent.greeting_uninterruptible:
                self.line.spawn(self._listen_again(), "listen again after the greeting")
        elif self.agent.greeting_uninterruptible:
            await self._listen()

    async def _listen_again(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SPEECH_SECONDS):
                await self.line.silence()
        await self._listen()

    async def _listen(self) -> None:
        session = self._session()
        await self.line.send({"type": "session.update", "session": session})
