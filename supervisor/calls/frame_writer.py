"""The one writer of a call's sideband.

Every frame passes here, and only while the call is ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from supervisor.calls.fence import Fence
from supervisor.conversation.actions import Send
from supervisor.errors import SidebandClosed
from supervisor.openai.sideband import Sideband

log = structlog.get_logger()


@dataclass(eq=False, slots=True, repr=False)
class FrameWriter:
    """Write the frames of one call, batch by batch."""

    fence: Fence
    sideband: Sideband | None = field(default=None, init=False)
    """The one that is attached."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def attach(self, sideband: Sideband) -> None:
        """Write to this sideband from now on."""
        self.sideband = sideband

    def detach(self) -> None:
        """Drop the sideband, with all that it has not written yet."""
        if self.sideband is not None:
            self.sideband.abort()
            self.sideband = None

    async def write(self, frames: Sequence[Send]) -> None:
        """Write a batch of frames, with none of another batch in between.

        It is for the sideband that is attached now. What is left of it when that sideband is lost, or when the call is
        no longer ours, is left out: the next attach asks OpenAI what is missing. To keep the order in which batches
        are decided, call this in the same step of the event loop in which the batch was decided.
        """
        sideband = self.sideband
        if sideband is None or not frames:
            return
        async with self._lock:
            for frame in frames:
                if await self.fence.verdict() and self.sideband is sideband:
                    await _write(sideband, frame.event)


async def _write(sideband: Sideband, event: Mapping[str, Any]) -> None:
    try:
        await sideband.send(event)
    except TypeError as error:
        log.error("event_not_json", type=event.get("type"), error=str(error), action="left out")
    except SidebandClosed as closed:
        log.info("not_written", type=event.get("type"), code=closed.code)  # the reader sees it too, and attaches again
