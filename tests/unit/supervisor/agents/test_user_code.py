"""Calling users' code: whatever it does, whoever called it is told in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest
from structlog.testing import capture_logs

from supervisor.agents import user_code
from supervisor.agents.user_code import Failure, TookTooLongError, UserCodeError, contained, run, takes
from supervisor.errors import StartupError
from tests.support.stubborn import wait_stubbornly

if TYPE_CHECKING:
    from collections.abc import Callable


def find_none() -> str:
    return next(name for name in ("a", "b") if name == "c")


async def cancel_oneself() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(0)


def fail_as_test_runners_do() -> None:
    pytest.fail("must not be called")


@pytest.mark.parametrize("code", [find_none, cancel_oneself, fail_as_test_runners_do])
async def test_whatever_is_raised_is_a_failure(code: Callable[[], Any]) -> None:
    """Whatever users' code raises is one kind of failure, at once and with its cause."""
    with pytest.raises(UserCodeError) as raised:
        await run(code, within_seconds=3600)  # far beyond this test's own time
    assert raised.value.__cause__, "or the log has no traceback"


async def test_code_that_ignores_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that ignores its cancellation is waited for no longer, and the log names it."""
    monkeypatch.setattr(user_code, "CANCEL_SECONDS", 0.01)
    release = asyncio.Event()

    async def stubborn() -> None:
        await wait_stubbornly(release)

    with capture_logs() as logs:
        with pytest.raises(TookTooLongError):
            await run(stubborn, within_seconds=0.01)
        asked = asyncio.create_task(run(stubborn, within_seconds=60))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    release.set()
    assert [(line["event"], line["function"]) for line in logs] == [("ignores_cancellation", "stubborn")] * 2


async def test_a_cancelled_caller_cancels_it() -> None:
    """A caller that is cancelled cancels the code, and waits until it has tidied up."""
    tidied = list[str]()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            tidied.append("all")

    asked = asyncio.create_task(run(work, within_seconds=60))
    for _ in range(3):
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert tidied == ["all"]


def _generator(_call: object) -> Any:
    yield 1


async def _async_generator(_call: object) -> Any:
    yield 1


@pytest.mark.parametrize("function", [_generator, _async_generator])
def test_a_generator_is_refused(function: Callable[..., Any]) -> None:
    """A generator, which nobody would run, is refused at start."""
    with pytest.raises(StartupError, match="generator: it would never run: return instead of yield"):
        takes(function, "call")


def test_unknown_parameters_are_accepted() -> None:
    """A function whose parameters can't be known is taken as it is."""
    assert takes(dict, "call") is dict


async def test_a_result_is_returned() -> None:
    """Code that succeeds leaves nothing in the log."""
    with capture_logs() as logs:
        result = await contained(lambda: 7, within_seconds=5, failed="code_failed", timed_out="code_timed_out")
    assert (result, logs) == (7, [])


async def test_a_failure_is_contained() -> None:
    """What the code raises is logged under the name that its caller gives, with a stack trace."""
    with capture_logs() as logs:
        result = await contained(
            find_none, within_seconds=5, failed="code_failed", timed_out="code_timed_out", rule="find"
        )
    (line,) = logs
    assert result is Failure.RAISED
    assert (line["event"], line["log_level"], line["rule"]) == ("code_failed", "error", "find")
    assert (line["error"], type(line["exc_info"])) == ("it raised RuntimeError", RuntimeError)


@pytest.mark.parametrize("level", ["warning", "error"])
async def test_a_time_out_is_contained(level: Literal["warning", "error"]) -> None:
    """Code that is not done in time is logged at the level that its caller gives."""
    with capture_logs() as logs:
        result = await contained(
            asyncio.Event().wait, within_seconds=0.01, failed="code_failed", timed_out="code_timed_out", level=level
        )
    (line,) = logs
    assert result is Failure.TIMED_OUT
    assert (line["event"], line["log_level"], line["timeout_seconds"]) == ("code_timed_out", level, 0.01)
