"""What tools and handlers can do in a call: real sockets, and a caller and a model that follow a script."""

import asyncio
from typing import Any

import pytest

from sideband import Agent, Call, TransferFailed
from sideband._rig import entries, outputs, rig
from supervisor.outcomes import EndReason
from tests.support.transcribed import SESSION, STAY, agent, requested


class TestTools:
    async def test_a_filler_is_said_while_a_tool_takes_its_time(self) -> None:
        answering = agent()
        filled = asyncio.Event()

        @answering.tool(filler="One moment, please.", filler_after=0.05)
        async def slow() -> str:
            await filled.wait()
            return "done"

        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "Please."}, {"tool": "slow"}, {"hang_up": True}])
            await rigged.seen(call, "frame_in", "response.create")
            filled.set()
            await rigged.ended(call)
            assert "One moment, please." in requested(call)[0]
            assert list(outputs(call).values()) == [["done"]]

    async def test_a_tool_that_is_called_too_often_says_so(self) -> None:
        answering = agent()

        @answering.tool(max_calls=1)
        async def once() -> str:
            return "done"

        turn: list[dict[str, Any]] = [{"caller": "Please."}, {"tool": "once"}]
        async with rig(answering) as rigged:
            call = await rigged.ring([*turn, *turn, {"hang_up": True}])
            await rigged.ended(call)
            first, second = [sent[0] for sent in outputs(call).values()]
            assert first == "done"
            assert "may not be used again" in second

    async def test_a_tool_that_does_not_exist_and_arguments_that_are_no_json_are_answered(self) -> None:
        answering = agent()

        @answering.tool()
        async def look(order_id: str) -> str:
            raise AssertionError(f"never called: {order_id}")

        script: list[dict[str, Any]] = [
            {"caller": "Hm."},
            {"tools": [{"tool": "nope"}, {"tool": "look", "arguments": '{"order_id": '}]},
            {"model": "Sorry."},
            {"hang_up": True},
        ]
        async with rig(answering) as rigged:
            call = await rigged.ring(script)
            assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP
            unknown, cut = [sent[0] for sent in outputs(call).values()]
            assert "There is no tool named nope" in unknown
            assert "Invalid JSON" in cut


class TestInTheCall:
    async def test_keys_are_collected(self) -> None:
        answering = agent()

        @answering.tool(timeout=10)
        async def pin(call: Call) -> str:
            return await call.digits(max=4, end="#", timeout=5)

        async with rig(answering) as rigged:
            script: list[dict[str, Any]] = [
                {"caller": "My code."},
                {"tool": "pin"},
                {"pause_ms": 300},
                {"dtmf": "12#"},
                {"model": "Thanks."},
            ]
            call = await rigged.ring([*script, {"hang_up": True}])
            await rigged.ended(call)
            assert list(outputs(call).values()) == [["12"]]

    async def test_the_model_is_asked_something_that_the_caller_does_not_hear(self) -> None:
        answering = agent()

        @answering.tool()
        async def mood(call: Call) -> str:
            return await call.ask("Is the caller angry? Answer yes or no.")

        async with rig(answering, options={"out_of_band_text": "no"}) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, {"tool": "mood"}, {"model": "Good."}, {"hang_up": True}])
            await rigged.ended(call)
            assert list(outputs(call).values()) == [["no"]]
            asked = [e.payload["response"] for e in entries(call, "frame_in", "response.create")]
            assert asked[0]["conversation"] == "none"

    async def test_events_are_handed_to_handlers_and_the_session_can_change(self) -> None:
        answering = agent()
        heard: list[str] = []

        @answering.tool()
        async def listen(call: Call) -> None:
            call.on("response.done", lambda event: heard.append(event["type"]))
            await call.update({"instructions": "Be brief."})

        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, {"tool": "listen"}, {"model": "Yes."}, {"hang_up": True}])
            record = await rigged.ended(call)
            assert heard
            assert record.session == {"instructions": "Be brief."}
            assert entries(call, "frame_in", "session.update")[-1].payload["session"]["type"] == "realtime"

    async def test_the_next_owner_attaches_with_the_session_after_all_updates(self) -> None:
        audio = {"input": {"turn_detection": {"type": "server_vad"}}, "output": {"speed": 1.0}}
        answering = Agent(session={**SESSION, "audio": audio})

        @answering.tool()
        async def change(call: Call) -> None:
            await call.update({"audio": {"output": {"speed": 1.2}}})
            await call.update({"audio": {"input": {"turn_detection": None}}})

        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "Faster."}, {"tool": "change"}, {"model": "Yes."}, STAY])
            await rigged.seen(call, "frame_in", "response.create")
            rigged.supervisors[0].stop.set()
            rigged.supervise(answering)
            while len(updates := entries(call, "frame_in", "session.update")) < 4:
                await asyncio.sleep(0.02)
            assert updates[-1].payload["session"]["audio"] == {
                "input": {"turn_detection": None},
                "output": {"speed": 1.2},
            }

    async def test_a_tool_says_several_things_and_its_answer_is_spoken_after_them(self) -> None:
        answering = agent()

        @answering.tool()
        async def balance(call: Call) -> str:
            for text in ("ONE", "TWO", "THREE"):
                await call.say(text)
            return "12 euro"

        async with rig(answering) as rigged:
            script: list[dict[str, Any]] = [{"caller": "My balance?"}, {"tool": "balance"}]
            replies = [{"model": text} for text in ("One.", "Two.", "Three.", "It is 12 euro.")]
            call = await rigged.ring([*script, *replies, {"hang_up": True}])
            await rigged.ended(call)
            asked = [text.rpartition(" ")[2] for text in requested(call)]
            assert asked == ["ONE", "TWO", "THREE", ""]

    async def test_a_hang_up_waits_for_the_goodbye(self) -> None:
        answering = agent()

        @answering.tool()
        async def leave(call: Call) -> None:
            await call.hang_up()

        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "Bye."}, {"model": "Goodbye, and thank you."}, {"tool": "leave"}])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.AGENT_HUNG_UP
            played = entries(call, "frame_out", "output_audio_buffer.stopped")[-1]
            assert played.sequence < entries(call, "rest", "hangup")[0].sequence

    async def test_the_greeting_can_not_be_interrupted(self) -> None:
        async with rig(agent(greeting="Hello.", greeting_uninterruptible=True)) as rigged:
            call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 500}, {"hang_up": True}])
            await rigged.ended(call)
            first, second = [e.payload["session"] for e in entries(call, "frame_in", "session.update")]
            assert first["audio"]["input"]["turn_detection"] is None
            assert second["audio"]["input"]["turn_detection"] == {"type": "server_vad"}

    async def test_on_end_is_called_once_and_may_change_the_state(self) -> None:
        answering = agent()

        @answering.on_end
        async def ended(call: Call) -> None:
            call.state["ended"] = call.state.get("ended", 0) + 1

        async with rig(answering) as rigged:
            record = await rigged.ended(await rigged.ring([{"caller": "Hm."}, {"hang_up": True}]))
            assert record.state == {"ended": 1}


class TestTransfer:
    def transferring(self, target: str) -> tuple[Agent, list[str]]:
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

    async def test_a_transfer_is_confirmed_by_the_caller_being_gone(self) -> None:
        answering, problems = self.transferring("tel:+31201112233")
        async with rig(answering, transfer_targets="tel:+3120*") as rigged:
            call = await rigged.ring([{"caller": "A human, please."}, {"tool": "transfer"}, STAY])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.TRANSFERRED
            assert problems == []

    @pytest.mark.parametrize("target", ["tel:+8821112233", "tel:112", "sip:x@evil.test", "http://evil.test"])
    async def test_a_target_that_the_rules_do_not_allow_never_reaches_openai(self, target: str) -> None:
        answering, problems = self.transferring(target)
        async with rig(answering, transfer_targets="tel:+3120*") as rigged:
            call = await rigged.ring(
                [{"caller": "Elsewhere."}, {"tool": "transfer"}, {"model": "No."}, {"hang_up": True}]
            )
            assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP
            assert len(problems) == 1
            assert entries(call, "rest", "refer") == []

    async def test_a_transfer_goes_on_when_the_tool_that_asked_for_it_took_too_long(self) -> None:
        answering = agent()

        @answering.tool(timeout=0.3)
        async def transfer(call: Call) -> None:
            await call.transfer("tel:+31201112233")

        async with rig(answering, transfer_targets="tel:+3120*", options={"refer_ms": 1000}) as rigged:
            call = await rigged.ring([{"caller": "A human."}, {"tool": "transfer"}, {"model": "Well."}, STAY])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.TRANSFERRED
            assert "took too long" in next(iter(outputs(call).values()))[0]

    async def test_a_transfer_without_effect_is_told_to_the_agent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("supervisor.calls.call_control.TRANSFER_SECONDS", 0.5)
        answering, problems = self.transferring("tel:+31201112233")
        async with rig(answering, transfer_targets="tel:*", options={"refer": "no_effect"}) as rigged:
            call = await rigged.ring(
                [{"caller": "A human."}, {"tool": "transfer"}, {"model": "Sorry."}, {"hang_up": True}]
            )
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.CALLER_HUNG_UP
            assert "still here" in problems[0]
