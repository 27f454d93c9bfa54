"""Ending and transferring a call: one request at a time, which outlives whoever asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from sideband import Agent, TransferFailed
from supervisor.agents.router import as_router
from supervisor.calls import call_control as under_test
from supervisor.calls.call_control import AttachedCallControl
from supervisor.calls.services import Services
from supervisor.errors import ControlError
from supervisor.outcomes import EndReason
from supervisor.records.writer import RecordWriter
from tests.support.call_context import Frames, call_context
from tests.support.faulty_store import FaultyStore

if TYPE_CHECKING:
    from supervisor.openai.signalling import Signalling

SOON = 5.0
TARGET = "tel:+31201234567"


@dataclass
class Signals:
    """Stands in for `Signalling`: notes what is asked for, and answers when it may."""

    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    fails: bool = False

    async def refer(self, call_id: str, _target_uri: str) -> None:
        self.asked.put_nowait("refer")
        await self.may_answer.wait()
        if self.fails:
            raise ControlError("refer", call_id, 400, None, "not now")

    async def hang_up(self, _notice: Any) -> bool:
        self.asked.put_nowait("hang up")
        await self.may_answer.wait()
        return not self.fails


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
async def control(signals: Signals) -> AttachedCallControl:
    agent, writer = Agent(session={"model": "gpt-realtime-2.1"}), RecordWriter(FaultyStore())
    services = Services(
        as_router(agent),
        cast("Any", None),
        lambda _permits: cast("Signalling", signals),
        writer,
        transfer_targets=("tel:+3120*",),
    )
    handle = await writer.open("call", "message", within_seconds=SOON)
    return AttachedCallControl(call_context(agent, handle, Frames(), services=services))


async def test_transferred(control: AttachedCallControl, signals: Signals) -> None:
    """OpenAI's yes alone says nothing: the caller has to be gone."""
    signals.may_answer.set()
    async with control.context.tasks:
        transfer = asyncio.create_task(control.transfer(TARGET))
        await signals.asked.get()
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
        await asyncio.wait_for(signals.asked.get(), SOON)
        tool.cancel()
        await asyncio.wait([tool])
        assert control.why_over is why_over
        with pytest.raises(TransferFailed, match="already"):
            await control.transfer(TARGET)
        await control.hang_up(after_speech=False)
        assert signals.asked.empty()


async def test_a_hang_up_that_fails(control: AttachedCallControl, signals: Signals) -> None:
    """It may be asked for again."""
    signals.may_answer.set()
    signals.fails = True
    async with control.context.tasks:
        for _ in range(2):
            await asyncio.wait_for(control.hang_up(after_speech=True), SOON)
    assert signals.asked.qsize() == 2
    assert not control.hanging_up


async def test_the_call_is_over(control: AttachedCallControl, signals: Signals) -> None:
    """An `on_end` handler can neither transfer nor hang up."""
    with pytest.raises(TransferFailed, match="the call is over"):
        await control.transfer(TARGET)
    await control.hang_up(after_speech=False)
    assert signals.asked.empty()


@pytest.mark.parametrize("target_uri", ["tel:+15551234567", "sip:anybody@example.com", "+31201234567"])
async def test_a_target_that_is_not_allowed(control: AttachedCallControl, signals: Signals, target_uri: str) -> None:
    """OpenAI is not asked."""
    async with control.context.tasks:
        with pytest.raises(TransferFailed, match="no transfer to"):
            await control.transfer(target_uri)
    assert signals.asked.empty()


async def test_the_session_expires(control: AttachedCallControl) -> None:
    """OpenAI ends the call, so that there is nothing for us to hang up."""
    control.on_session_expired()
    assert (control.why_over, control.hanging_up) == (EndReason.SESSION_EXPIRED, False)
