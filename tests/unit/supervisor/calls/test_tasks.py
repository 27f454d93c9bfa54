"""The tasks of a call: they end with it, and what goes wrong in one ends nothing else."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from sideband import TransferFailed
from supervisor.calls.tasks import CallTasks

SOON = 5.0


async def test_nothing_starts_outside() -> None:
    """Neither before the call is attached nor after it is over; the work is closed, and warns of nothing."""
    tasks, ran = CallTasks(), list[str]()

    async def work(when: str) -> None:
        ran.append(when)

    assert tasks.spawn(work("before"), "work") is None
    async with tasks:
        task = tasks.spawn(work("during"), "work")
        assert task is not None
        await task
    assert tasks.spawn(work("after"), "work") is None
    assert ran == ["during"]


async def test_tasks_end_with_the_call() -> None:
    """What still runs is cancelled, and waited for until it has tidied up."""
    tasks, tidied = CallTasks(), list[str]()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append("up")

    async with tasks:
        task = tasks.spawn(work(), "work")
        await asyncio.sleep(0)
    assert task is not None
    assert (task.cancelled(), tidied) == (True, ["up"])


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (TransferFailed("no"), "not_done"),
        (TimeoutError(), "not_done"),
        (ZeroDivisionError(), "task_failed"),
    ],
    ids=["transfer", "time limit", "bug"],
)
async def test_a_task_that_fails(error: Exception, event: str) -> None:
    """It is logged, has no result, and the others go on."""
    may_end = asyncio.Event()

    async def fail() -> str:
        raise error

    async def go_on() -> str:
        await may_end.wait()
        return "done"

    with capture_logs() as lines:
        async with CallTasks() as tasks:
            failed, other = tasks.spawn(fail(), "fail"), tasks.spawn(go_on(), "go on")
            assert failed is not None
            assert other is not None
            assert await asyncio.wait_for(failed, SOON) is None
            may_end.set()
            assert await asyncio.wait_for(other, SOON) == "done"
    assert [line["event"] for line in lines] == [event]
