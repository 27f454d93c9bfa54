"""The fence around what is done for a call.

It says what may pass. When the call is no longer ours it closes, and what runs inside ends at once.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from types import TracebackType
from typing import Self

from supervisor.claims import Claim


class Why(Enum):
    """Why a call is no longer ours."""

    HANDED_OVER = "it was given to another supervisor"
    LOST = "its claim was lost"
    SUPERSEDED = "another owner has opened its record"


class Fence:
    """End what runs inside as soon as the fence is closed.

        async with Fence(claim) as fence:
            ...  # goes on until it is done, or until any task calls `fence.close(why)`
        fence.closed  # why, or None

    A fence that closes ends its block by a cancellation of its own, which goes no further than the block. When the task
    is cancelled from outside as well, `CancelledError` leaves the block, as from any other code.

    Whatever reaches the call from here asks `permits` at that very moment: a process that was frozen for longer than
    its lease wakes to timers that are due, long before it is told that the claim is lost.
    """

    __slots__ = ("_cancellation", "_cancelled", "_claim", "_requests", "_task", "closed")

    def __init__(self, claim: Claim) -> None:
        self.closed: Why | None = None
        self._claim = claim
        self._task: asyncio.Task[object] | None = None
        self._requests = 0  # to cancel the task, from before it came here
        self._cancellation: asyncio.Handle | None = None
        self._cancelled = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._requests = self._task.cancelling() if self._task else 0
        return self

    def permits(self) -> bool:
        """Tell whether anything may be done to the call now."""
        return self.closed is None and self._claim.may_write()

    async def verdict(self) -> bool:
        """Wait while the claim is lapsed; tell whether the call is ours."""
        return await self._claim.verdict() and self.closed is None

    def close(self, why: Why) -> None:
        """End what runs inside; the first reason counts.

        Nothing happens when nothing runs inside.
        """
        if self._task is not None and self.closed is None:
            self.closed = why
            # Not at once: the task itself may be the one that closes, and could then finish without noticing.
            self._cancellation = asyncio.get_running_loop().call_soon(self._cancel, self._task)

    def _cancel(self, task: asyncio.Task[object]) -> None:
        self._cancelled = True
        task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        if self._cancellation:
            self._cancellation.cancel()
        if task is None or not self._cancelled:
            return False
        from_outside = task.uncancel() > self._requests
        return kind is asyncio.CancelledError and not from_outside
