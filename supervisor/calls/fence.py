"""The fence around all that is done for a call.

What runs inside ends at once when the call is no longer ours.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from types import TracebackType
from typing import Self


class Why(Enum):
    """Why a call is no longer ours."""

    HANDED_OVER = "it was given to another supervisor"
    LOST = "its claim was lost"
    SUPERSEDED = "another owner has opened its record"


class Fence:
    """End what runs inside as soon as the fence is closed.

        async with Fence() as fence:
            ...  # goes on until it is done, or until any task calls `fence.close(why)`
        fence.closed  # why, or None

    A fence that closes ends its block by a cancellation of its own, which goes no further than the block. When the task
    is cancelled from outside as well, `CancelledError` leaves the block, as from any other code.
    """

    __slots__ = ("_cancellation", "_cancelled", "_requests", "_task", "closed")

    def __init__(self) -> None:
        self.closed: Why | None = None
        self._task: asyncio.Task[object] | None = None
        self._requests = 0  # to cancel the task, from before it came here
        self._cancellation: asyncio.Handle | None = None
        self._cancelled = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        self._requests = self._task.cancelling() if self._task else 0
        return self

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
