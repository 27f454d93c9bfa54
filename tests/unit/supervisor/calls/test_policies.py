"""The policies of one call: what its reports and the clock lead to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from sideband import Agent, Limits
from supervisor.agents.call import Call
from supervisor.calls import policies as under_test
from supervisor.calls.call_control import AttachedCallControl
from supervisor.calls.policies import LAST_SEGMENTS, CallPolicies
from supervisor.conversation.actions import (
    DtmfReceived,
    Idle,
    McpApprovalRequest,
    NotTranscribed,
    ResponseBilled,
    ResponseFailed,
    Transcribed,
    TranscriptDelta,
    TranscriptionBilled,
)
from supervisor.outcomes import EndReason
from supervisor.records.record import CallRecord
from supervisor.records.writer import RecordWriter
from tests.support.call_context import Frames, Signals, call_context
from tests.support.faulty_store import FaultyStore
from tests.support.openai_events import created, done

SOON = 5.0
SESSION: dict[str, Any] = {
    "model": "gpt-realtime-2.1",
    "audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}}},
}
NO_LIMITS = Limits(no_audio_seconds=None, silence_seconds=None, idle_timeouts=None, max_seconds=None)
USAGE = {"total_tokens": 1000, "output_token_details": {"audio_tokens": 1000}}
PAYMENT = McpApprovalRequest("approval_1", "bank", "pay", "{}")


def agent(**settings: Any) -> Agent:
    return Agent(session=SESSION, **{"limits": NO_LIMITS, **settings})


@dataclass
class Attached:
    """A call that is attached, and what it does."""

    policies: CallPolicies
    frames: Frames
    signals: Signals

    @classmethod
    async def of(cls, answering: Agent, **recorded: Any) -> Attached:
        """Attach a call of an agent, with these fields in its record."""
        writer, frames, signals = RecordWriter(FaultyStore()), Frames(), Signals()
        signals.may_answer.set()
        handle = await writer.open("call", "message", within_seconds=SOON)
        for name, value in recorded.items():
            setattr(handle.record, name, value)
        services = signals.services(answering, writer, "tel:*")
        context = call_context(answering, handle, frames, services=services)
        control = AttachedCallControl(context)
        call = Call(context.notice, control, handle.record.state, context.inputs)
        return cls(CallPolicies(context, call, control), frames, signals)

    @property
    def call(self) -> Call:
        return self.policies.call

    @property
    def record(self) -> CallRecord:
        return self.policies.context.handle.record

    @property
    def end_reason(self) -> EndReason:
        return self.policies.control.why_over

    async def frame(self, type_: str) -> Mapping[str, Any]:
        """Wait for the next frame of this type."""
        while (frame := await asyncio.wait_for(self.frames.next(), SOON))["type"] != type_:
            pass
        return frame

    async def speak(self) -> str:
        """Wait for the next response that is requested, and have it spoken; give its instructions."""
        create = await self.frame("response.create")
        conversation, mark = self.policies.context.conversation, create["event_id"]
        conversation.receive(created("resp_1", mark=mark))
        conversation.receive(done("resp_1", mark=mark))
        self.policies.control.on_silence()
        return str(create["response"].get("instructions"))

    async def signalled(self) -> str:
        """Wait for the next request about the call."""
        return await asyncio.wait_for(self.signals.requested.get(), SOON)

    def tick(self, seconds: float = 0, *, busy: bool = False, caller_heard: bool = True) -> None:
        """Let the clock be so many seconds later than it is."""
        self.policies.tick(time.time() + seconds, busy=busy, caller_heard=caller_heard)


async def settled() -> None:
    """Wait until all that a report or the clock has started is done."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=SOON)


def said(text: str, *, role: Any = "caller", item_id: str = "i1") -> Transcribed:
    return Transcribed(item_id, role, text, 0)


# What is noted.


async def test_cost_is_added_up() -> None:
    """Responses and transcriptions count together, and after what earlier owners used."""
    attached = await Attached.of(agent(), tokens=500, cost_usd=1.0)
    attached.policies.on_report(ResponseBilled("resp_1", USAGE))
    attached.policies.on_report(TranscriptionBilled({"type": "duration", "seconds": 60}))
    assert attached.record.tokens == 1500
    assert attached.record.cost_usd == attached.call.cost_usd == pytest.approx(1.0 + 0.064 + 0.017)


async def test_the_last_words_are_kept() -> None:
    """The agent sees the last pieces of the transcript; the record gets all."""
    attached = await Attached.of(agent())
    for number in range(LAST_SEGMENTS + 5):
        attached.policies.on_report(said(str(number), item_id=f"i{number}"))
    assert [segment.text for segment in attached.call.transcript] == [str(n) for n in range(5, LAST_SEGMENTS + 5)]
    assert len(attached.policies.context.handle.unwritten.segments) == LAST_SEGMENTS + 5


async def test_keys_are_kept() -> None:
    """A key that is pressed waits to be collected."""
    attached = await Attached.of(agent())
    for key in "42#":
        attached.policies.on_report(DtmfReceived(key))
    assert await attached.call.digits(max=5, timeout=SOON) == "42"


async def test_words_that_were_not_transcribed() -> None:
    """Words that could not be transcribed are in the log."""
    attached = await Attached.of(agent())
    with capture_logs() as lines:
        attached.policies.on_report(NotTranscribed("i1", "audio_unintelligible"))
    assert [(line["event"], line["code"]) for line in lines] == [("not_transcribed", "audio_unintelligible")]


# Limits.


async def test_a_limit_ends_the_call() -> None:
    """A call over a limit ends once, after a goodbye, with the limit's own reason."""
    attached = await Attached.of(agent(limits=Limits(max_seconds=60, goodbye="Say goodbye.")))
    async with attached.policies.context.tasks:
        attached.tick(50)
        for seconds in (61, 62, 63):
            attached.tick(seconds)
        assert await attached.speak() == "Say goodbye."
        assert await attached.signalled() == "hang up"
        assert attached.end_reason is EndReason.MAX_DURATION
    assert len(attached.frames.sent) == 1
    assert attached.signals.requested.empty()


async def test_nobody_to_say_goodbye_to() -> None:
    """Where no caller was heard, the call ends without a goodbye."""
    attached = await Attached.of(agent(limits=Limits(no_audio_seconds=60)))
    async with attached.policies.context.tasks:
        attached.tick(61, caller_heard=False)
        assert await attached.signalled() == "hang up"
        assert attached.end_reason is EndReason.NO_CALLER
    assert attached.frames.sent == []


async def test_a_later_owner_has_heard_the_caller() -> None:
    """A call that had an owner before is not taken for one without a caller."""
    attached = await Attached.of(agent(limits=Limits(no_audio_seconds=60)), epoch=2)
    async with attached.policies.context.tasks:
        attached.tick(61, caller_heard=False)
        await settled()
    assert attached.end_reason is EndReason.CALLER_HUNG_UP
    assert attached.signals.requested.empty()


async def test_a_limit_holds_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that could not be ended at a limit is ended at the next look."""
    monkeypatch.setattr(under_test, "END_AGAIN_SECONDS", 0)
    attached = await Attached.of(agent(limits=Limits(max_usd=1, goodbye="")), cost_usd=2.0)
    attached.signals.fails = True
    async with attached.policies.context.tasks:
        for _ in range(3):
            attached.tick()
            await settled()
            assert await attached.signalled() == "hang up"


async def test_silence_is_asked_about() -> None:
    """After half of the silence the caller is asked; what the model still says is no silence."""
    limits = Limits(silence_seconds=60, silence_question="Ask who is there.", no_audio_seconds=None)
    attached = await Attached.of(agent(limits=limits))
    async with attached.policies.context.tasks:
        attached.tick(25, busy=True)
        attached.tick(50)
        await settled()
        assert attached.frames.sent == []
        attached.tick(56)
        assert await attached.speak() == "Ask who is there."


async def test_idle_timeouts_end_the_call() -> None:
    """OpenAI's own idle time-outs count until the caller says something."""
    attached = await Attached.of(agent(limits=Limits(idle_timeouts=2, silence_seconds=None, goodbye="")))
    async with attached.policies.context.tasks:
        for report in (Idle(), said("Hello?"), Idle()):
            attached.policies.on_report(report)
        attached.tick()
        await settled()
        assert attached.signals.requested.empty()
        attached.policies.on_report(Idle())
        attached.tick()
        assert await attached.signalled() == "hang up"
        assert attached.end_reason is EndReason.SILENCE


# Guards.


def no_doctors(_call: Call, text: str) -> str | None:
    return "I give no medical advice." if "dose" in text else None


def fail(_call: Call, _text: str) -> str | None:
    raise RuntimeError("no database")


async def test_a_guard_objects() -> None:
    """The first guard that objects stops the model, and has it say something else, once for each item."""
    answering = agent()
    for guard in (fail, no_doctors, lambda _call, _said: "too late"):
        answering.guard.input(guard)
    attached = await Attached.of(answering)
    async with attached.policies.context.tasks:
        attached.policies.context.conversation.playing = True
        for _ in range(2):
            attached.policies.on_report(said("Which dose?"))
            await settled()
    clear, create = attached.frames.sent
    assert clear["type"] == "output_audio_buffer.clear"
    assert "I give no medical advice." in create["response"]["instructions"]


@pytest.mark.parametrize(
    ("instead", "sent"), [(None, []), ("", ["output_audio_buffer.clear"])], ids=["allows", "says nothing"]
)
async def test_a_guard_without_words(instead: str | None, sent: list[str]) -> None:
    """A guard that returns None changes nothing; one that returns an empty text only stops the model."""
    answering = agent()
    answering.guard.output(lambda _call, _saying: instead)
    attached = await Attached.of(answering)
    async with attached.policies.context.tasks:
        attached.policies.context.conversation.playing = True
        attached.policies.on_report(TranscriptDelta("i1", "I promise"))
        await settled()
    assert [frame["type"] for frame in attached.frames.sent] == sent


async def test_guards_have_a_side_each() -> None:
    """Input guards check the caller's words, and output guards the model's."""
    answering, checked = agent(), list[str]()
    answering.guard.input(lambda _call, text: checked.append(f"in: {text}"))
    answering.guard.output(lambda _call, text: checked.append(f"out: {text}"))
    attached = await Attached.of(answering)
    async with attached.policies.context.tasks:
        for report in (said("A"), said("B", role="agent"), TranscriptDelta("i3", "C")):
            attached.policies.on_report(report)
            await settled()
    assert checked == ["in: A", "out: B", "out: C"]


async def test_watched_for_output_guards_alone() -> None:
    """What the model is saying is reported while it speaks only where an output guard wants it."""
    guarded = agent()
    guarded.guard.output(no_doctors)
    watched = [(await Attached.of(one)).policies.context.conversation.watch_every for one in (agent(), guarded)]
    assert watched[0] == 0 < watched[1]


# Approvals and failures.


@pytest.mark.parametrize(
    ("approver", "approved"),
    [
        (lambda _call, request: request.name == "pay", True),
        (lambda _call, _request: "yes", False),
        (fail, False),
        (None, False),
    ],
    ids=["approves", "returns a text", "raises", "no approver"],
)
async def test_hosted_tools(approver: Callable[..., Any] | None, approved: bool) -> None:
    """A hosted tool runs only when the agent's approver returns True."""
    answering = agent()
    if approver:
        answering.approve(approver)
    attached = await Attached.of(answering)
    async with attached.policies.context.tasks:
        attached.policies.on_report(PAYMENT)
        await settled()
    (frame,) = attached.frames.sent
    assert (frame["item"]["approval_request_id"], frame["item"]["approve"]) == ("approval_1", approved)


async def test_a_failed_response_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed response that may work is requested again."""
    monkeypatch.setattr(under_test, "RETRY_SECONDS", 0)
    attached = await Attached.of(agent())
    async with attached.policies.context.tasks:
        attached.policies.on_report(ResponseFailed("server_error", again=True))
        assert await attached.speak() == "None"


async def test_a_model_that_keeps_failing() -> None:
    """When the model keeps failing, the call ends after an apology, once."""
    attached = await Attached.of(agent(apology="Sorry."))
    async with attached.policies.context.tasks:
        for _ in range(2):
            attached.policies.on_report(ResponseFailed("server_error", again=False))
        assert "Sorry." in await attached.speak()
        assert await attached.signalled() == "hang up"
        assert attached.end_reason is EndReason.MODEL_FAILED
    assert len(attached.frames.sent) == 1


@pytest.mark.parametrize("fails", [False, True])
async def test_the_fallback(fails: bool) -> None:
    """With a fallback the caller is transferred there instead; where that fails, the call ends."""
    attached = await Attached.of(agent(fallback="tel:+31201234567"))
    attached.signals.fails = fails
    async with attached.policies.context.tasks:
        attached.policies.on_report(ResponseFailed("server_error", again=False))
        assert await attached.signalled() == "refer"
        if fails:
            await attached.speak()
            assert await attached.signalled() == "hang up"
        else:
            assert attached.end_reason is EndReason.TRANSFERRED
