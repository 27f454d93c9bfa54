"""Transfers: where to, and whether they have worked."""

import pytest

from sideband import Agent, Call, TransferFailed
from sideband._rig import entries, outputs, rig
from supervisor.outcomes import EndReason
from tests.support.rigged import STAY, agent


def transferring(target: str) -> tuple[Agent, list[str]]:
    answering, problems = agent(), []

    @answering.tool(timeout=30)
    async def transfer(call: Call) -> str:
        try:
            await call.transfer(target)
        except TransferFailed as failed:
            problems.append(str(failed))
            return "The transfer failed."
        return "transferred"

    return answering, problems


async def test_a_transfer_is_confirmed() -> None:
    """A transfer is confirmed by the caller being gone."""
    answering, problems = transferring("tel:+31201112233")
    async with rig(answering, transfer_targets="tel:+3120*") as rigged:
        call = await rigged.ring([{"caller": "A human, please."}, {"tool": "transfer"}, STAY])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.TRANSFERRED
        assert problems == []


@pytest.mark.parametrize("target", ["tel:+8821112233", "tel:112", "sip:x@evil.test", "http://evil.test"])
async def test_a_forbidden_target_is_not_sent(target: str) -> None:
    """A target that the settings do not allow never reaches OpenAI."""
    answering, problems = transferring(target)
    async with rig(answering, transfer_targets="tel:+3120*") as rigged:
        call = await rigged.ring([{"caller": "Elsewhere."}, {"tool": "transfer"}, {"model": "No."}, {"hang_up": True}])
        assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP
        assert len(problems) == 1
        assert entries(call, "rest", "refer") == []


async def test_a_transfer_outlives_its_tool() -> None:
    """A transfer goes on when the tool that asked for it took too long."""
    answering = agent()

    @answering.tool(timeout=0.3)
    async def transfer(call: Call) -> None:
        await call.transfer("tel:+31201112233")

    async with rig(answering, transfer_targets="tel:+3120*", options={"refer_ms": 1000}) as rigged:
        call = await rigged.ring([{"caller": "A human."}, {"tool": "transfer"}, {"model": "Well."}, STAY])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.TRANSFERRED
        assert "took too long" in next(iter(outputs(call).values()))[0]


async def test_a_transfer_without_effect_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer without effect is a `TransferFailed` in the agent's tool."""
    monkeypatch.setattr("supervisor.calls.call_control.TRANSFER_SECONDS", 0.5)
    answering, problems = transferring("tel:+31201112233")
    async with rig(answering, transfer_targets="tel:*", options={"refer": "no_effect"}) as rigged:
        call = await rigged.ring([{"caller": "A human."}, {"tool": "transfer"}, {"model": "Sorry."}, {"hang_up": True}])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert "still here" in problems[0]


async def test_a_failing_model_uses_the_fallback() -> None:
    """When the model keeps failing, the caller is transferred to the fallback."""
    fail = {"fail": {"code": "insufficient_quota"}}
    async with rig(agent(fallback="tel:+31201112233"), transfer_targets="tel:+3120*") as rigged:
        call = await rigged.ring([{"caller": "Hm."}, fail, {"model": "Sorry."}, STAY])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.TRANSFERRED
