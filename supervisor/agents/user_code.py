"""Run users' code: bounded in time, its failures contained and logged.

Plain functions run in threads.

Three things in users' code would otherwise reach beyond it. `SystemExit`, as a command-line parser raises it, would end
the process with all its calls. `CancelledError`, of a shared task that somebody else cancelled, would pass for our own.
Code that ignores its cancellation would keep its caller waiting for ever.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from enum import Enum
from functools import wraps
from typing import Any, Literal, TypeVar

import structlog

from supervisor.errors import SidebandError, StartupError

F = TypeVar("F", bound=Callable[..., Any])

log = structlog.get_logger()

CANCEL_SECONDS = 1.0  # for cancelled code to tidy up


class UserCodeError(SidebandError):
    """Users' code raised something, which is the `__cause__`."""


class TookTooLongError(SidebandError):
    """Users' code was not done in time."""


class Failure(Enum):
    """Why `contained` has no result; the log says more."""

    RAISED = "raised"
    TIMED_OUT = "timed out"


def name_of(function: Callable[..., Any]) -> str:
    """Name a function for the log.

    A `functools.partial` has the name of what it calls.

    Examples:
        >>> from functools import partial
        >>> name_of(partial(max, 1))
        'max'
    """
    function = getattr(function, "func", function)
    return str(getattr(function, "__name__", type(function).__name__))


def takes(function: F, *parameters: str) -> F:
    """Check that a function takes these parameters; return it unchanged.

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
    """Make a handler run on the event loop, even a plain one.

    A thread would cost more than most handlers do.
    """

    @wraps(handler)
    async def called(argument: Any) -> Any:
        outcome = handler(argument)
        return await outcome if inspect.isawaitable(outcome) else outcome

    return called


async def contained(
    function: Callable[[], Any],
    *,
    within_seconds: float,
    failed: str,
    timed_out: str,
    level: Literal["warning", "error"] = "warning",
    threads: Executor | None = None,
    **fields: Any,
) -> Any | Failure:
    """Run users' code; log and return its failure.

    Args:
        function: see `run`.
        within_seconds: see `run`.
        failed: name of the log event for code that raised; it is an error, with a stack trace.
        timed_out: name of the log event for code that was not done in time.
        level: of that second event.
        threads: see `run`.
        fields: what both events say besides, such as the function's name.
    """
    try:
        return await run(function, within_seconds=within_seconds, threads=threads)
    except UserCodeError as error:
        log.error(failed, error=str(error), exc_info=error.__cause__, **fields)
        return Failure.RAISED
    except TookTooLongError as error:
        getattr(log, level)(timed_out, error=str(error), timeout_seconds=within_seconds, **fields)
        return Failure.TIMED_OUT


async def run(function: Callable[[], Any], *, within_seconds: float, threads: Executor | None = None) -> Any:
    """Run users' code, a plain function in a thread.

    What a plain function returns is awaited, if it can be.

    When the task that waits here is cancelled, so is the function, and it has `CANCEL_SECONDS` to tidy up.

    Args:
        function: one without arguments, such as a `functools.partial`.
        within_seconds: a plain function that takes longer goes on in its thread, and nobody waits for it any more.
        threads: where plain functions run; by default those of the event loop.

    Raises:
        UserCodeError: it raised anything.
        TookTooLongError: it was not done in time.
    """
    running = asyncio.create_task(_outcome(function, threads), name=f"users' code: {name_of(function)}")
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
    """Return the function's result, or the `UserCodeError` of its failure.

    So no exception leaves this task.
    """
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
    except StopIteration as error:  # no future can hold it, so its waiter would wait for ever
        raise RuntimeError("it raised StopIteration, as next() does where nothing is left") from error


async def _stop(running: asyncio.Task[Any], function: Callable[[], Any]) -> None:
    running.cancel()
    await asyncio.wait([running], timeout=CANCEL_SECONDS)
    if not running.done():
        log.error("ignores_cancellation", function=name_of(function), action="nobody waits for it any more")
