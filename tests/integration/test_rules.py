"""What an agent's rules do in a call: real supervisor, real sockets, and a caller and a model that follow a script."""

import asyncio
from typing import Any

import pytest

from sideband import Accept, Agent, Call, Incoming, Limits, Reject, Router
from sideband._rig import entries, outputs, rig
from supervisor.agents.call import TransferFailed
from supervisor.outcomes import EndReason

SESSION: dict[str, Any] = {
    "model": "gpt-realtime-2.1",
    "audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}}},
}
STAY: dict[str, Any] = {"pause_ms": 60_000}


def agent(**settings: Any) -> Agent:
    return Agent(session=SESSION, **settings)


def said_by_us(call: Any) -> list[str]:
    """The instructions of every response that was asked for."""
    return [entry.payload["response"].get("instructions", "") for entry in entries(call, "frame_in", "response.create")]


class TestDeciding:
    async def test_a_rule_rejects_with_a_sip_code(self) -> None:
        """A rule rejects a call with a SIP code."""
        answering = agent()

        @answering.incoming
        async def decide(incoming: Incoming) -> Reject | None:
            assert incoming.caller is not None
            return Reject(603) if incoming.caller.number == "+31201234567" else None

        async with rig(answering) as rigged:
            call = await rigged.ring([])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.REJECTED
            assert entries(call, "end")[0].payload["status_code"] == 603
            assert entries(call, "rest", "accept") == []

    async def test_a_rule_accepts_with_a_session(self) -> None:
        """A rule accepts a call with a session and a state of its own."""
        answering = agent()

        @answering.incoming
        def decide(incoming: Incoming) -> Accept:
            return Accept(session={"instructions": "Speak Dutch."}, state={"line": incoming.header("Call-ID")})

        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, {"model": "Ja?"}, {"hang_up": True}])
            record = await rigged.ended(call)
            assert entries(call, "rest", "accept")[0].payload["body"]["instructions"] == "Speak Dutch."
            update = entries(call, "frame_in", "session.update")[0].payload["session"]
            assert update["instructions"] == "Speak Dutch."
            assert record.state["line"]

    @pytest.mark.parametrize("kind", ["raises", "hangs"])
    async def test_a_failing_rule_rejects(self, kind: str) -> None:
        """A rule that fails rejects the call rather than letting it ring."""
        answering = agent()

        @answering.incoming
        async def decide(incoming: Incoming) -> None:
            if kind == "raises":
                raise RuntimeError(incoming.call_id)
            await asyncio.Event().wait()

        async with rig(answering) as rigged:
            call = await rigged.ring([])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.REJECTED
            assert entries(call, "end")[0].payload["status_code"] == 503

    async def test_the_router_chooses_an_agent(self) -> None:
        """The router chooses by the dialled number and the context."""
        router = Router({"day": agent(greeting="day"), "vip": agent(greeting="vip")})
        router.dialled("+31207654321", "day")
        router.context("tier", "gold", "vip")
        async with rig(router) as rigged:
            by_number = await rigged.ring([{"wait_for": "greeting"}, {"hang_up": True}])
            by_context = await rigged.ring([{"wait_for": "greeting"}, {"hang_up": True}], context={"tier": "gold"})
            assert (await rigged.ended(by_number)).agent == "day"
            assert (await rigged.ended(by_context)).agent == "vip"
            assert said_by_us(by_number)[0] == "day"
            assert said_by_us(by_context)[0] == "vip"

    async def test_a_call_for_nobody_gets_404(self) -> None:
        """A call for which the router has no agent is rejected with 404."""
        async with rig(Router({"day": agent()})) as rigged:
            call = await rigged.ring([])
            assert (await rigged.ended(call)).end_reason is EndReason.REJECTED
            assert entries(call, "end")[0].payload["status_code"] == 404

    async def test_calls_beyond_the_limit_are_busy(self) -> None:
        """A call beyond what an agent may have at once gets 486, busy."""
        async with rig(agent(max_calls=2)) as rigged:
            calls = [await rigged.ring([STAY]) for _ in range(3)]
            records = [asyncio.create_task(rigged.ended(call)) for call in calls]
            done, _ = await asyncio.wait(records, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result().end_reason for task in done] == [EndReason.REJECTED]
            rejected = [call for call in calls if call.state == "ended"]
            assert entries(rejected[0], "end")[0].payload["status_code"] == 486
            for task in records:
                task.cancel()


class TestTools:
    async def test_a_filler_covers_a_slow_tool(self) -> None:
        """A filler is said while a tool takes its time."""
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
            assert "One moment, please." in said_by_us(call)[0]
            assert list(outputs(call).values()) == [["done"]]

    async def test_a_tool_called_too_often_says_so(self) -> None:
        """A tool that is called too often does not run, and the model is told."""
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

    async def test_impossible_tool_calls_are_answered(self) -> None:
        """A tool that doesn't exist and arguments that are no JSON are answered."""
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

    async def test_a_failing_model_uses_the_fallback(self) -> None:
        """When the model keeps failing, the caller is transferred to the fallback."""
        fail = {"fail": {"code": "insufficient_quota"}}
        async with rig(agent(fallback="tel:+31201112233"), transfer_targets="tel:+3120*") as rigged:
            call = await rigged.ring([{"caller": "Hm."}, fail, {"model": "Sorry."}, STAY])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.TRANSFERRED

    async def test_hosted_tools_need_approval(self) -> None:
        """Hosted tools are denied unless the agent approves."""
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


class TestInTheCall:
    async def test_keys_are_collected(self) -> None:
        """A tool collects the keys that the caller presses, up to the one that ends them."""
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

    async def test_the_model_is_asked_unheard(self) -> None:
        """The model is asked something that the caller does not hear."""
        answering = agent()

        @answering.tool()
        async def mood(call: Call) -> str:
            return await call.ask("Is the caller angry? Answer yes or no.")

        async with rig(answering, options={"out_of_band_text": "no"}) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, {"tool": "mood"}, {"model": "Good."}, {"hang_up": True}])
            await rigged.ended(call)
            assert list(outputs(call).values()) == [["no"]]
            beside = [e.payload["response"] for e in entries(call, "frame_in", "response.create")]
            assert beside[0]["conversation"] == "none"

    async def test_handlers_and_session_updates(self) -> None:
        """Events are handed to handlers, and the session can change."""
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

    async def test_updates_outlive_their_owner(self) -> None:
        """The next owner attaches with the session after all updates."""
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

    async def test_what_a_tool_says_comes_in_order(self) -> None:
        """A tool says several things, and its answer is spoken after them."""
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
            asked = [text.rpartition(" ")[2] for text in said_by_us(call)]
            assert asked == ["ONE", "TWO", "THREE", ""]

    async def test_a_hang_up_waits_for_the_goodbye(self) -> None:
        """A hang-up waits until the goodbye has been played."""
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

    async def test_the_greeting_is_uninterruptible(self) -> None:
        """An uninterruptible greeting is said with turn detection off, and on again after it."""
        async with rig(agent(greeting="Hello.", greeting_uninterruptible=True)) as rigged:
            call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 500}, {"hang_up": True}])
            await rigged.ended(call)
            first, second = [e.payload["session"] for e in entries(call, "frame_in", "session.update")]
            assert first["audio"]["input"]["turn_detection"] is None
            assert second["audio"]["input"]["turn_detection"] == {"type": "server_vad"}

    async def test_on_end_may_change_the_state(self) -> None:
        """`on_end` is called once and may change the state."""
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

    async def test_a_transfer_is_confirmed(self) -> None:
        """A transfer is confirmed by the caller being gone."""
        answering, problems = self.transferring("tel:+31201112233")
        async with rig(answering, transfer_targets="tel:+3120*") as rigged:
            call = await rigged.ring([{"caller": "A human, please."}, {"tool": "transfer"}, STAY])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.TRANSFERRED
            assert problems == []

    @pytest.mark.parametrize("target", ["tel:+8821112233", "tel:112", "sip:x@evil.test", "http://evil.test"])
    async def test_a_forbidden_target_is_not_sent(self, target: str) -> None:
        """A target that the settings do not allow never reaches OpenAI."""
        answering, problems = self.transferring(target)
        async with rig(answering, transfer_targets="tel:+3120*") as rigged:
            call = await rigged.ring(
                [{"caller": "Elsewhere."}, {"tool": "transfer"}, {"model": "No."}, {"hang_up": True}]
            )
            assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP
            assert len(problems) == 1
            assert entries(call, "rest", "refer") == []

    async def test_a_transfer_outlives_its_tool(self) -> None:
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

    async def test_a_transfer_without_effect_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A transfer without effect is a `TransferFailed` in the agent's tool."""
        monkeypatch.setattr("supervisor.calls.call_control.TRANSFER_SECONDS", 0.5)
        answering, problems = self.transferring("tel:+31201112233")
        async with rig(answering, transfer_targets="tel:*", options={"refer": "no_effect"}) as rigged:
            call = await rigged.ring(
                [{"caller": "A human."}, {"tool": "transfer"}, {"model": "Sorry."}, {"hang_up": True}]
            )
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.CALLER_HUNG_UP
            assert "still here" in problems[0]


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
    async def test_each_limit_has_its_own_reason(
        self, limits: Limits, script: list[dict[str, Any]], reason: EndReason
    ) -> None:
        """A limit ends the call with its own reason."""
        async with rig(agent(limits=limits)) as rigged:
            call = await rigged.ring(script)
            record = await rigged.ended(call)
            assert record.end_reason is reason
            assert call.end_reason == "hangup"

    async def test_silence_is_first_asked_about(self) -> None:
        """Before silence ends a call, the caller is asked whether they are there."""
        limits = Limits(silence_seconds=4, silence_question="Ask who is there.")
        async with rig(agent(limits=limits)) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, {"model": "Yes?"}, STAY])
            await rigged.seen(call, "frame_in", "response.create")
            assert said_by_us(call) == ["Ask who is there."]

    async def test_audio_still_played_is_no_silence(self) -> None:
        """What the model still plays is not silence. Audio plays for long after its response is done."""
        async with rig(agent(limits=Limits(silence_seconds=2, silence_question=None))) as rigged:
            playing = {"event": {"type": "output_audio_buffer.started", "response_id": "resp_long"}}
            script: list[dict[str, Any]] = [{"caller": "Read me the terms."}, {"model": "Well."}, {"pause_ms": 500}]
            call = await rigged.ring([*script, playing, {"pause_ms": 4000}, {"hang_up": True}])
            assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP

    async def test_push_to_talk_is_heard(self) -> None:
        """A caller who pushes to talk counts as heard."""
        session = {**SESSION, "audio": {"input": {"turn_detection": None}}}
        talking = Agent(session=session, greeting="Hello.", limits=Limits(no_audio_seconds=1.5))
        async with rig(talking) as rigged:
            committed = {"event": {"type": "input_audio_buffer.committed", "item_id": "item_1"}}
            call = await rigged.ring([{"wait_for": "greeting"}, committed, {"pause_ms": 3500}, {"hang_up": True}])
            assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP

    async def test_after_eight_tools_it_must_speak(self) -> None:
        """After eight tool calls in a row the model has to speak."""
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
    async def test_a_guard_on_the_caller_stops_it(self) -> None:
        """What the caller says can stop the model."""
        answering = agent()

        @answering.guard.input
        def no_cards(_call: Call, text: str) -> str | None:
            return "Please do not tell me card numbers." if "card" in text else None

        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "My card is 4111."}, {"model": "I note 4111."}, STAY])
            await rigged.seen(call, "frame_in", "response.create")
            assert "do not tell me card numbers" in said_by_us(call)[0]

    async def test_a_guard_on_the_model_cuts_it_off(self) -> None:
        """What the model says is cut off, and thrown away."""
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

    async def test_a_failing_guard_ends_no_call(self) -> None:
        """A guard that fails does not end the call."""
        answering = agent()

        @answering.guard.input
        def broken(_call: Call, _text: str) -> str:
            raise RuntimeError

        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, {"model": "Yes."}, {"hang_up": True}])
            assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP


class TestFailures:
    async def test_a_failed_response_is_retried(self) -> None:
        """A failed response is asked for again."""
        fail = {"fail": {"code": "rate_limit_exceeded"}}
        async with rig(agent()) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, fail, {"model": "Here I am."}, {"hang_up": True}])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.CALLER_HUNG_UP
            assert [segment.text for segment in record.transcript][-1] == "Here I am."

    async def test_a_failing_model_apologises(self) -> None:
        """A model that keeps failing apologises, and the call is hung up."""
        fail = {"fail": {"code": "rate_limit_exceeded"}}
        async with rig(agent(apology="Sorry, call again.")) as rigged:
            call = await rigged.ring([{"caller": "Hm."}, fail, fail, fail, {"model": "Sorry."}, STAY])
            record = await rigged.ended(call)
            assert record.end_reason is EndReason.MODEL_FAILED
            assert "Sorry, call again." in said_by_us(call)[-1]


async def test_the_record_has_words_and_cost() -> None:
    """The record holds the transcript in order, and what the call cost."""
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


async def test_it_goes_on_after_a_hosted_tool() -> None:
    """The model is asked to go on after a hosted tool that it leaves uncommented."""
    mcp = {"server_label": "shop", "name": "stock", "arguments": {}, "output": "3"}
    session = {**SESSION, "tools": [{"type": "mcp", "server_label": "shop", "server_url": "https://mcp.test/"}]}
    async with rig(Agent(session=session), options={"speaks_after_mcp": False}) as rigged:
        call = await rigged.ring([{"caller": "In stock?"}, {"mcp": mcp}, {"model": "Three."}, {"hang_up": True}])
        record = await rigged.ended(call)
        assert len(entries(call, "frame_in", "response.create")) == 1
        assert record.transcript[-1].text == "Three."


async def test_an_accept_that_leads_nowhere() -> None:
    """An accept after which no socket can be attached is hung up, as `never_attached`.

    OpenAI said 200 to a session that it can't use; nothing can be attached to (complaint C2).
    """
    async with rig(agent(), options={"attachable_after_ms": 60_000}) as rigged:
        call = await rigged.ring([])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.NEVER_ATTACHED
        assert call.end_reason == "hangup"
