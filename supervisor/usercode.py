"""Calling users' code: bounded, off the event loop where it is plain, and whatever it does it fails like any other.

Two exceptions of users' code would reach far beyond it. `SystemExit`, of a command-line parser perhaps, would end the
process with all its calls; `CancelledError`, of a shared task that somebody else cancelled, would pass for our own
cancellation, and nobody would look after the call any more.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any, TypeVar

from supervisor.errors import SidebandError, StartupError

F = TypeVar("F", bound=Callable[..., Any])


class UserCodeError(SidebandError):
    """Users' code raised something, which is the `__cause__`."""


class TookTooLongError(SidebandError):
    """Users' code was not done in time."""


def takes(function: F, *parameters: str) -> F:
    """The function itself, if it can be called with these.

    Raises:
        StartupError: it can't, or it is no function.
    """
    try:
        inspect.signature(function).bind(*parameters)
    except TypeError as error:
        name = getattr(function, "__name__", repr(function))
        raise StartupError(f"{name} is called as {name}({', '.join(parameters)}): {error}") from error
    return function


async def run(function: Callable[[], Any], *, within_seconds: float, threads: Executor | None = None) -> Any:
    """Call a function of the user's, a plain one in a thread; what it returns is awaited if it can be.

    Args:
        function: one without arguments, such as a `functools.partial`.
        within_seconds: a plain function that takes longer goes on in its thread, and nobody waits for it any more.
        threads: where plain functions run; by default those of the event loop.

    Raises:
        UserCodeError: it raised anything.
        TookTooLongError: it was not done in time.
    """
    try:
        async with asyncio.timeout(within_seconds) as bound:
            if inspect.iscoroutinefunction(function):
                return await function()
            loop, context = asyncio.get_running_loop(), copy_context()
            result = await loop.run_in_executor(threads, context.run, function)
            return await result if inspect.isawaitable(result) else result
    except TimeoutError as error:
        if bound.expired():
            raise TookTooLongError(f"not done in {within_seconds} s") from error
        raise UserCodeError("it raised TimeoutError") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise UserCodeError("something that it waited for was cancelled") from error
    except (Exception, SystemExit) as error:
        raise UserCodeError(f"it raised {type(error).__name__}") from error
