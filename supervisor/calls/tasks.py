"""What runs beside the reader of one call, such as handlers and guards: nothing that goes wrong there ends the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from supervisor.agents import user_code
from supervisor.agents.call import TransferFailed

log = structlog.get_logger()

HANDLER_SECONDS = 20.0


@dataclass(eq=False, slots=True, repr=False)
class CallTasks:
    """Tasks of one call, while it is `running`."""

    changed: Callable[[], None]
    """Called after each handler, since it may have changed the agent's state."""
    running: bool = False
    """Whether anything can be started."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def close(self) -> None:
        """From here on nothing is started; what runs is cancelled, and users' code not waited for long."""
        self.running = False
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        """Run something until the call is over; None when it is over already."""
        if not self.running:
            work.close()
            return None
        task = asyncio.create_task(_contained(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def handle(self, handler: Callable[..., Any], argument: Any) -> None:
        """Call a handler of the agent, bounded; what goes wrong in it stays in it."""
        name = getattr(handler, "__name__", "handler")
        try:
            await user_code.run(partial(handler, argument), within_seconds=HANDLER_SECONDS)
        except user_code.TookTooLongError:
            log.warning("handler_timed_out", handler=name, timeout_seconds=HANDLER_SECONDS)
        except user_code.UserCodeError as failed:
            log.error("handler_failed", handler=name, error=str(failed), exc_info=failed.__cause__)
        self.changed()


async def _contained(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (TransferFailed, TimeoutError) as error:
        log.warning("not_done", error=str(error) or "time-out")
    except Exception:
        log.exception("failed_beside", action="the call goes on")
