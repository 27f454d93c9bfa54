"""Limits: each ends a call for its own reason, and none before its time."""

from typing import Any

import pytest

from sideband import Agent, Limits
from sideband._rig import rig
from supervisor.outcomes import EndReason
from tests.support.rigged import STAY, TRANSCRIBED, agent, asked_for


@pytest.mark.parametrize(
    ("limits", "script", "reason"),
    [
        (Limits(no_audio_seconds=1), [STAY], EndReason.NO_CALLER),
        (Limits(silence_seconds=2), [{"caller": "Hm."}, {"model": "Yes?"}, STAY], EndReason.SILENCE),
        (Limits(max_seconds=1), [{"caller": "Hm."}, {"model": "Yes?"}, STAY], EndReason.MAX_DURATION),
        (Limits(max_usd=0.000001), [{"caller": "Hm."}, {"model": "Yes?"}, STAY], EndReason.MAX_COST),
        (Limits(max_tokens=1), [{"caller": "Hm."}, {"model": "Yes?"}, STAY], EndReason.MAX_TOKENS),
    ],
)
async def test_each_limit_has_its_own_reason(limits: Limits, script: list[dict[str, Any]], reason: EndReason) -> None:
    """A limit ends the call with its own reason."""
    async with rig(agent(limits=limits)) as rigged:
        call = await rigged.ring(script)
        record = await rigged.ended(call)
        assert record.end_reason is reason
        assert call.end_reason == "hangup"


async def test_silence_is_first_asked_about() -> None:
    """Before silence ends a call, the caller is asked whether they are there."""
    limits = Limits(silence_seconds=4, silence_question="Ask who is there.")
    async with rig(agent(limits=limits)) as rigged:
        call = await rigged.ring([{"caller": "Hm."}, {"model": "Yes?"}, STAY])
        await rigged.seen(call, "frame_in", "response.create")
        assert asked_for(call) == ["Ask who is there."]


async def test_audio_still_played_is_no_silence() -> None:
    """What the model still plays is not silence. Audio plays for long after its response is done."""
    async with rig(agent(limits=Limits(silence_seconds=2, silence_question=None))) as rigged:
        playing = {"event": {"type": "output_audio_buffer.started", "response_id": "resp_long"}}
        script: list[dict[str, Any]] = [{"caller": "Read me the terms."}, {"model": "Well."}, {"pause_ms": 500}]
        call = await rigged.ring([*script, playing, {"pause_ms": 4000}, {"hang_up": True}])
        assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP


async def test_push_to_talk_is_heard() -> None:
    """A caller who pushes to talk counts as heard."""
    session = {**TRANSCRIBED, "audio": {"input": {"turn_detection": None}}}
    talking = Agent(session=session, greeting="Hello.", limits=Limits(no_audio_seconds=1.5))
    async with rig(talking) as rigged:
        committed = {"event": {"type": "input_audio_buffer.committed", "item_id": "item_1"}}
        call = await rigged.ring([{"wait_for": "greeting"}, committed, {"pause_ms": 3500}, {"hang_up": True}])
        assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP
