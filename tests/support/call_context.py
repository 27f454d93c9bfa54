"""A call's context without OpenAI: its frames are kept instead of sent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from function.notice import CallNotice
from sideband import Agent
from supervisor.agents.router import as_router
from supervisor.calls.fence import Fence
from supervisor.calls.services import CallContext, Services
from supervisor.claims import Claim, Claims
from supervisor.errors import ControlError
from supervisor.openai.sideband import Sideband
from supervisor.openai.signalling import Signalling
from supervisor.records.handle import RecordHandle
from supervisor.records.writer import RecordWriter


class Frames:
    """Stands in for a `Sideband`: keeps the frames that are written to it.

    Args:
        on_send: called with each frame before it is kept.
    """

    def __init__(self, on_send: Callable[[Mapping[str, Any]], None] = lambda _frame: None) -> None:
        self.sent: list[Mapping[str, Any]] = []
        self.may_send = asyncio.Event()
        """While it is not set, a frame that is being written stays so."""
        self.may_send.set()
        self.aborted = False
        self._on_send = on_send
        self._queue: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()

    async def send(self, event: Mapping[str, Any]) -> None:
        """Keep a frame."""
        await asyncio.sleep(0)  # a real one never writes at once
        await self.may_send.wait()
        self._on_send(event)
        self.sent.append(event)
        self._queue.put_nowait(event)

    async def next(self) -> Mapping[str, Any]:
        """Wait for the next frame."""
        return await self._queue.get()

    def abort(self) -> None:
        """Drop the connection."""
        self.aborted = True

    def as_sideband(self) -> Sideband:
        """Return itself, as what a writer takes."""
        return cast("Sideband", self)


@dataclass
class Signals:
    """Stands in for `Signalling`: notes what is requested, and answers when it may."""

    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    requested: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    fails: bool = False

    async def refer(self, call_id: str, _target_uri: str) -> None:
        """Refer a call."""
        self.requested.put_nowait("refer")
        await self.may_answer.wait()
        if self.fails:
            raise ControlError("refer", call_id, 400, None, "not now")

    async def hang_up(self, _notice: CallNotice) -> bool:
        """End a call."""
        self.requested.put_nowait("hang up")
        await self.may_answer.wait()
        return not self.fails

    def services(self, agent: Agent, writer: RecordWriter, *transfer_targets: str) -> Services:
        """Make the services of a process that signals by this."""
        router, signalling = as_router(agent), cast("Signalling", self)
        return Services(router, cast("Claims", None), lambda _permits: signalling, writer, transfer_targets)


def lasting_claim() -> Claim:
    """Make a claim that never lapses by itself."""
    return Claim(ack_id="a", message_id="message", data=b"", delivery_attempt=1, write_until=math.inf)


def call_context(
    agent: Agent, handle: RecordHandle, frames: Frames, *, services: Services | None = None
) -> CallContext:
    """Make the context of a call that is attached."""
    notice, given = CallNotice(call_id=handle.record.call_id), cast("Services", services)
    claim = lasting_claim()
    context = CallContext.of(given, claim, Fence(claim), notice, agent=agent, handle=handle)
    context.writer.attach(frames.as_sideband())
    return context
