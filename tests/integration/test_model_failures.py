"""Models that fail: asked again, and the caller told if that does not help."""

from typing import Any

import pytest

from sideband._rig import rig
from supervisor.outcomes import EndReason
from tests.support.rigged import STAY, agent, asked_for


async def test_a_failed_response_is_retried() -> None:
    """A failed response is asked for again."""
    fail = {"fail": {"code": "rate_limit_exceeded"}}
    async with rig(agent()) as rigged:
        call = await rigged.ring([{"caller": "Hm."}, fail, {"model": "Here I am."}, {"hang_up": True}])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert [segment.text for segment in record.transcript][-1] == "Here I am."


async def test_a_failing_model_apologises() -> None:
    """A model that keeps failing apologises, and the call is hung up."""
    fail = {"fail": {"code": "rate_limit_exceeded"}}
    async with rig(agent(apology="Sorry, call again.")) as rigged:
        call = await rigged.ring([{"caller": "Hm."}, fail, fail, fail, {"model": "Sorry."}, STAY])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.MODEL_FAILED
        assert "Sorry, call again." in asked_for(call)[-1]


async def test_a_failed_transcription_is_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Words that could not be transcribed are reported, and the call goes on."""
    async with rig(agent()) as rigged:
        script: list[dict[str, Any]] = [
            {"caller": "mumble", "transcription": "failed"},
            {"model": "Pardon?"},
            {"hang_up": True},
        ]
        record = await rigged.ended(await rigged.ring(script))
        assert record.end_reason is EndReason.CALLER_HUNG_UP
    assert "not_transcribed" in capsys.readouterr().out
