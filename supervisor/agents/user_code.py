"""Calling users' code: bounded, off the event loop where it is plain, and whatever it does it fails like any other.

Some of what it does would reach far beyond it. `SystemExit`, of a command-line parser perhaps, would end the process
with all its calls. `CancelledError`, of a shared task that somebody else cancelled, would pass for our own. Code that
does not heed its cancellation would keep whoever called it for ever.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from functools import wraps
from typing import Any, TypeVar

import structlog

from supervisor.errors import SidebandError, StartupError

F = TypeVar("F", bound=Callable[..., Any])

log = structlog.get_logger()

CANCEL_SECONDS = 1.0


class UserCodeError(SidebandError):
    """Users' code raised something, which is the `__cause__`."""


class TookTooLongError(SidebandError):
    """Users' code was not done in time."""


def takes(function: F, *parameters: str) -> F:
    """The function itself, if it can be called with these.

    Raises:
        StartupError: it can't, or it is no function.
    """
    name = getattr(function, "__name__", repr(function))
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise StartupError(f"{name} is a generator: it would never run: return instead of yield")
    try:
        inspect.signature(function).bind(*parameters)
    except TypeError as error:
        raise StartupError(f"{name} is called as {name}({', '.join(parameters)}): {error}") from error
    except ValueError:  # of some built-in functions nobody can know
        return function
    return function


def on_loop(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler that runs on the event loop even if it is plain: a thread would cost more than most of them do."""

    @wraps(handler)
    async def called(argument: Any) -> Any:
        outcome = handler(argument)
        return await outcome if inspect.isawaitable(outcome) else outcome

    return called


async def run(function: Callable[[], Any], *, within_seconds: float, threads: Executor | None = None) -> Any:
    """Call a function of the user's, a plain one in a thread; what it returns is awaited if it can be.

    When whoever waits here is cancelled, so is the function, and it has a second to tidy up.

    Args:
        function: one without arguments, such as a `functools.partial`.
        within_seconds: a plain function that takes longer goes on in its thread, and nobody waits for it any more.
        threads: where plain functions run; by default those of the event loop.

    Raises:
        UserCodeError: it raised anything.
        TookTooLongError: it was not done in time.
    """
    running = asyncio.create_task(_outcome(function, threads))
    try:
        await asyncio.wait([running], timeout=within_seconds)
        if running.done():
            outcome = running.result()
            if isinstance(outcome, UserCodeError):
                raise outcome
            return outcome
    finally:
        if not running.done():
            await _stop(running, function)
    raise TookTooLongError(f"not done in {within_seconds} s")


async def _outcome(function: Callable[[], Any], threads: Executor | None) -> Any:
    """What the function returns, or the UserCodeError that it ended with; this is a task that no exception leaves."""
    try:
        if inspect.iscoroutinefunction(function):
            return await function()
        loop, context = asyncio.get_running_loop(), copy_context()
        result = await loop.run_in_executor(threads, context.run, _plain, function)
        return await result if inspect.isawaitable(result) else result
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - users' code may raise anything
        failed = UserCodeError(f"it raised {type(error).__name__}")
        failed.__cause__ = error
        return failed


def _plain(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except StopIteration as error:  # which no future can hold, so that whoever waits would not be told
        raise RuntimeError("it raised StopIteration, as next() does where nothing is left") from error


async def _stop(running: asyncio.Task[Any], function: Callable[[], Any]) -> None:
    running.cancel()
    await asyncio.wait([running], timeout=CANCEL_SECONDS)
    if not running.done():
        called = getattr(function, "func", function)
        name = getattr(called, "__name__", type(called).__name__)
        log.error("ignores_cancellation", function=name, action="nobody waits for it any more")
