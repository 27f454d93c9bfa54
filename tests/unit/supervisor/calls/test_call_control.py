"""Ending and transferring a call: one request at a time, which outlives whoever asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sideband import Agent, TransferFailed
from supervisor.calls import call_control as under_test
from supervisor.calls.call_control import AttachedCallControl
from supervisor.outcomes import EndReason
from supervisor.records.writer import RecordWriter
from tests.support.call_context import Frames, Signals, call_context
from tests.support.faulty_store import FaultyStore

SOON = 5.0
TARGET = "tel:+31201234567"


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
async def control(signals: Signals) -> AttachedCallControl:
    agent, writer = Agent(session={"model": "gpt-realtime-2.1"}), RecordWriter(FaultyStore())
    services = signals.services(agent, writer, "tel:+3120*")
    handle = await writer.open("call", "message", within_seconds=SOON)
    return AttachedCallControl(call_context(agent, handle, Frames(), services=services))


async def test_transferred(control: AttachedCallControl, signals: Signals) -> None:
    """OpenAI's yes alone says nothing: the caller has to be gone."""
    signals.may_answer.set()
    async with control.context.tasks:
        transfer = asyncio.create_task(control.transfer(TARGET))
        await signals.requested.get()
        assert control.why_over is EndReason.TRANSFERRED
        assert not transfer.done()
        control.on_call_over()
        await asyncio.wait_for(transfer, SOON)


async def test_a_refer_that_fails(control: AttachedCallControl, signals: Signals) -> None:
    """The caller is still here, and another try is possible."""
    signals.may_answer.set()
    signals.fails = True
    async with control.context.tasks:
        for _ in range(2):
            with pytest.raises(TransferFailed, match="not now"):
                await asyncio.wait_for(control.transfer(TARGET), SOON)
    assert control.why_over is EndReason.CALLER_HUNG_UP


async def test_a_caller_who_stays(
    control: AttachedCallControl, signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI said yes, and nothing followed."""
    monkeypatch.setattr(under_test, "TRANSFER_SECONDS", 0.0)
    signals.may_answer.set()
    async with control.context.tasks:
        with pytest.raises(TransferFailed, match="still here"):
            await asyncio.wait_for(control.transfer(TARGET), SOON)
    assert control.why_over is EndReason.CALLER_HUNG_UP


@pytest.mark.parametrize(
    ("ask", "why_over"),
    [
        (lambda control: control.transfer(TARGET), EndReason.TRANSFERRED),
        (lambda control: control.end(EndReason.MAX_DURATION, goodbye=None), EndReason.MAX_DURATION),
    ],
    ids=["transfer", "end"],
)
async def test_it_outlives_whoever_asked(
    control: AttachedCallControl,
    signals: Signals,
    ask: Callable[[AttachedCallControl], Awaitable[None]],
    why_over: EndReason,
) -> None:
    """A tool that took too long is cancelled; what it asked for goes on, and no second request is made."""
    async with control.context.tasks:
        tool = asyncio.ensure_future(ask(control))
        await asyncio.wait_for(signals.requested.get(), SOON)
        tool.cancel()
        await asyncio.wait([tool])
        assert control.why_over is why_over
        with pytest.raises(TransferFailed, match="already"):
            await control.transfer(TARGET)
        await control.hang_up(after_speech=False)
        assert signals.requested.empty()


async def test_a_hang_up_that_fails(control: AttachedCallControl, signals: Signals) -> None:
    """It may be asked for again."""
    signals.may_answer.set()
    signals.fails = True
    async with control.context.tasks:
        for _ in range(2):
            await asyncio.wait_for(control.hang_up(after_speech=True), SOON)
    assert signals.requested.qsize() == 2
    assert not control.hanging_up


async def test_the_call_is_over(control: AttachedCallControl, signals: Signals) -> None:
    """An `on_end` handler can neither transfer nor hang up."""
    with pytest.raises(TransferFailed, match="the call is over"):
        await control.transfer(TARGET)
    await control.hang_up(after_speech=False)
    assert signals.requested.empty()


@pytest.mark.parametrize("target_uri", ["tel:+15551234567", "sip:anybody@example.com", "+31201234567"])
async def test_a_target_that_is_not_allowed(control: AttachedCallControl, signals: Signals, target_uri: str) -> None:
    """OpenAI is not asked."""
    async with control.context.tasks:
        with pytest.raises(TransferFailed, match="no transfer to"):
            await control.transfer(target_uri)
    assert signals.requested.empty()


async def test_the_session_expires(control: AttachedCallControl) -> None:
    """OpenAI ends the call, so that there is nothing for us to hang up."""
    control.on_session_expired()
    assert (control.why_over, control.hanging_up) == (EndReason.SESSION_EXPIRED, False)
