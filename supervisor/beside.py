"""What runs beside the reader of one call, such as handlers and guards: nothing that goes wrong there ends the call."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from supervisor.call import TransferFailed

log = structlog.get_logger()

HANDLER_SECONDS = 20.0


@dataclass(eq=False, slots=True, repr=False)
class Beside:
    """Tasks of one call, from when its group is `open` until it is `closed`."""

    changed: Callable[[], None]
    """Called after each handler, since it may have changed the agent's state."""
    _group: asyncio.TaskGroup | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def running(self) -> bool:
        """Whether anything can be started."""
        return self._group is not None

    def open(self, group: asyncio.TaskGroup) -> None:
        """From here on tasks are started in this group."""
        self._group = group

    def close(self) -> None:
        """From here on nothing is started; what runs is cancelled."""
        self._group = None
        for task in self._tasks:
            task.cancel()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        """Run something until the call is over; None when it is over already."""
        if self._group is None:
            work.close()
            return None
        task = self._group.create_task(_contained(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def spawn_handler(self, handler: Callable[..., Any], argument: Any, name: str) -> None:
        """Run a handler of the agent."""
        self.spawn(self.handle(handler, argument), name)

    async def handle(self, handler: Callable[..., Any], argument: Any) -> None:
        """Call a handler of the agent, bounded; what goes wrong in it stays in it."""
        name = getattr(handler, "__name__", "handler")
        try:
            async with asyncio.timeout(HANDLER_SECONDS):
                outcome = handler(argument)
                if inspect.isawaitable(outcome):
                    await outcome
        except TimeoutError:
            log.warning("handler_timed_out", handler=name, timeout_seconds=HANDLER_SECONDS)
        except Exception:  # users' code may raise anything; the call goes on
            log.exception("handler_failed", handler=name)
        self.changed()


async def _contained(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (TransferFailed, TimeoutError) as error:
        log.warning("not_done", error=str(error) or "time-out")
    except Exception:
        log.exception("failed_beside", action="the call goes on")
