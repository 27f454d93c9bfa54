"""What is watched in a call: limits, guards, approvals, failures, the transcript and the cost."""

from typing import Any

import pytest

from sideband import Agent, Call, Limits
from sideband._rig import entries, rig
from supervisor.outcomes import EndReason
from tests.support.transcribed import SESSION, STAY, agent, requested


class TestLimits:
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
    async def test_a_limit_ends_the_call_with_its_own_reason(
        self, limits: Limits, script: list[dict[str, Any]], reason: EndReason
    ) -> None:
        async with rig(agent(limits=limits)) as rigged:
            call = await rigged.ring(script)
            record = await rigged.ended(call)
            assert record.end_reason is reason
            assert call.end_reason == "hangup"

    async def test_silence_is_first_asked_about(self) -> None:
        limits = Limits(silence_seconds=4, silence_question="Ask who is there.")
        async with rig(agent(limits=limits)) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, {"model": "Yes?"}, STAY])
            await rigged.seen(call, "frame_in", "response.create")
            assert requested(call) == ["Ask who is there."]

    async def test_what_the_model_still_plays_is_not_silence(self) -> None:
        """Audio plays for long after its response is done."""
        async with rig(agent(limits=Limits(silence_seconds=2, silence_question=None))) as rigged:
            playing = {"event": {"type": "output_audio_buffer.started", "response_id": "resp_long"}}
            script: list[dict[str, Any]] = [{"caller": "Read me the terms."}, {"model": "Well."}, {"pause_ms": 500}]
            call = await rigged.ring([*script, playing, {"pause_ms": 4000}, {"hang_up": True}])
            assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP

    async def test_a_caller_who_pushes_to_talk_is_heard(self) -> None:
        session = {**SESSION, "audio": {"input": {"turn_detection": None}}}
        talking = Agent(session=session, greeting="Hello.", limits=Limits(no_audio_seconds=1.5))
        async with rig(talking) as rigged:
            committed = {"event": {"type": "input_audio_buffer.committed", "item_id": "item_1"}}
            call = await rigged.ring([{"wait_for": "greeting"}, committed, {"pause_ms": 3500}, {"hang_up": True}])
            assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP

    async def test_tools_in_a_row_end_with_the_model_having_to_speak(self) -> None:
        answering = agent()

        @answering.tool()
        async def again() -> str:
            return "more"

        rounds = [{"tool": "again"}] * 12
        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "Go."}, *rounds, {"hang_up": True}])
            await rigged.ended(call)
            asked = [e.payload["response"].get("tool_choice") for e in entries(call, "frame_in", "response.create")]
            assert asked == [None] * 8 + ["none"]


class TestGuards:
    async def test_what_the_caller_says_can_stop_the_model(self) -> None:
        answering = agent()

        @answering.guard.input
        def no_cards(_call: Call, text: str) -> str | None:
            return "Please do not tell me card numbers." if "card" in text else None

        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "My card is 4111."}, {"model": "I note 4111."}, STAY])
            await rigged.seen(call, "frame_in", "response.create")
            assert "do not tell me card numbers" in requested(call)[0]

    async def test_what_the_model_says_is_cut_off_and_thrown_away(self) -> None:
        answering = agent()

        @answering.guard.output
        async def no_advice(_call: Call, text: str) -> str | None:
            return "I can't advise on that." if "medicine" in text else None

        advice = "You should take the medicine twice a day, and then some more of it, for as long as it hurts at all."
        async with rig(answering, options={"speed": 5}) as rigged:
            call = await rigged.ring([{"caller": "What helps?"}, {"model": advice}, STAY])
            await rigged.seen(call, "frame_in", "response.create")
            types = [entry.type for entry in entries(call, "frame_in")]
            assert types[1:4] == ["response.cancel", "output_audio_buffer.clear", "response.create"]

    async def test_a_guard_that_fails_does_not_end_the_call(self) -> None:
        answering = agent()

        @answering.guard.input
        def broken(_call: Call, _text: str) -> str:
            raise RuntimeError

        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, {"model": "Yes."}, {"hang_up": True}])
            assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP


class TestFailures:
    async def test_a_failed_response_is_asked_for_again(self) -> None:
        fail = {"fail": {"code": "rate_limit_exceeded"}}
        async with rig(agent()) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, fail, {"model": "Here I am."}, {"hang_up": True}])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.CALLER_HUNG_UP
            assert [segment.text for segment in record.transcript][-1] == "Here I am."

    async def test_a_model_that_keeps_failing_apologises_and_hangs_up(self) -> None:
        fail = {"fail": {"code": "rate_limit_exceeded"}}
        async with rig(agent(apology="Sorry, call again.")) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, fail, fail, fail, {"model": "Sorry."}, STAY])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.MODEL_FAILED
            assert "Sorry, call again." in requested(call)[-1]

    async def test_a_model_that_keeps_failing_leaves_the_caller_with_the_fallback(self) -> None:
        fail = {"fail": {"code": "insufficient_quota"}}
        async with rig(agent(fallback="tel:+31201112233"), transfer_targets="tel:+3120*") as rigged:
            call = await rigged.ring([{"caller": "Hm."}, fail, {"model": "Sorry."}, STAY])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.TRANSFERRED


class TestHostedTools:
    async def test_hosted_tools_are_denied_unless_the_agent_approves(self) -> None:
        mcp = {"server_label": "shop", "name": "refund", "arguments": {}, "output": "ok", "approval": True}
        session = {**SESSION, "tools": [{"type": "mcp", "server_label": "shop", "server_url": "https://mcp.test/"}]}
        for approver, expected in ((None, False), (lambda _call, request: request.name == "refund", True)):
            answering = Agent(session=session)
            if approver:
                answering.approve(approver)
            async with rig(answering) as rigged:
                call = await rigged.ring([{"caller": "Refund me."}, {"mcp": mcp}, STAY])
                created = await rigged.seen(call, "frame_in", "conversation.item.create")
                assert created.payload["item"]["type"] == "mcp_approval_response"
                assert created.payload["item"]["approve"] is expected

    async def test_the_model_is_asked_to_go_on_after_a_hosted_tool_that_it_leaves_uncommented(self) -> None:
        mcp = {"server_label": "shop", "name": "stock", "arguments": {}, "output": "3"}
        session = {**SESSION, "tools": [{"type": "mcp", "server_label": "shop", "server_url": "https://mcp.test/"}]}
        async with rig(Agent(session=session), options={"speaks_after_mcp": False}) as rigged:
            call = await rigged.ring([{"caller": "In stock?"}, {"mcp": mcp}, {"model": "Three."}, {"hang_up": True}])
            record = await rigged.ended(call)
            assert len(entries(call, "frame_in", "response.create")) == 1
            assert record.transcript[-1].text == "Three."


async def test_the_record_holds_the_transcript_in_order_and_what_the_call_cost() -> None:
    async with rig(agent(greeting="Say hello.")) as rigged:
        script: list[dict[str, Any]] = [
            {"caller": "One."},
            {"model": "Two."},
            {"caller": "Three."},
            {"model": "Four."},
            {"hang_up": True},
        ]
        record = await rigged.ended(await rigged.ring(script))
        said = [segment.text for segment in sorted(record.transcript, key=lambda segment: segment.order)]
        assert said[-4:] == ["One.", "Two.", "Three.", "Four."]
        assert record.cost_usd > 0
        assert record.tokens > 0
        assert record.caller == "+31201234567"
        assert record.dialled == "+31207654321"


async def test_words_that_could_not_be_transcribed_are_reported_and_the_call_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with rig(agent()) as rigged:
        script: list[dict[str, Any]] = [
            {"caller": "mumble", "transcription": "failed"},
            {"model": "Pardon?"},
            {"hang_up": True},
        ]
        record = await rigged.ended(await rigged.ring(script))
        assert record.end_reason is EndReason.CALLER_HUNG_UP
    assert "not_transcribed" in capsys.readouterr().out
