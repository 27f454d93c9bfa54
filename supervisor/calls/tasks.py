"""The tasks of one call.

They run at the same time as its reader, and end with the call at the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import structlog

from supervisor.agents.call import TransferFailed

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(eq=False, slots=True, repr=False)
class CallTasks:
    """The tasks of one call.

    They can be started within `async with`, and are cancelled at its end.

    Nothing that goes wrong in one of them ends the call.
    """

    open: bool = False
    """Whether anything can be started."""
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self.open = True
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.open = False
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)  # users' code is not waited for long: see `user_code.run`

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T | None] | None:
        """Start some work; None when the call is over already.

        The task's result is None when the work failed, which is logged.
        """
        if not self.open:
            work.close()
            return None
        task = asyncio.create_task(_contained(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _contained(work: Coroutine[Any, Any, T]) -> T | None:
    """Do some work; log what goes wrong in it."""
    try:
        return await work
    except (TransferFailed, TimeoutError) as error:
        log.warning("not_done", error=str(error) or "time-out")
    except Exception:
        log.exception("task_failed", action="the call goes on")
    return None
