"""What an agent can do in a call: listen, ask, change the session, hang up."""

from typing import Any

from sideband import Agent, Call
from sideband._rig import entries, outputs, rig
from supervisor.outcomes import EndReason
from tests.support.rigged import STAY, TRANSCRIBED, agent


async def test_keys_are_collected() -> None:
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


async def test_the_model_is_asked_unheard() -> None:
    """The model is asked something that the caller does not hear."""
    answering = agent()

    @answering.tool()
    async def mood(call: Call) -> str:
        return await call.ask("Is the caller angry? Answer yes or no.")

    async with rig(answering, options={"out_of_band_text": "no"}) as rigged:
        call = await rigged.ring([{"caller": "Hm."}, {"tool": "mood"}, {"model": "Good."}, {"hang_up": True}])
        await rigged.ended(call)
        assert list(outputs(call).values()) == [["no"]]
        unheard = [e.payload["response"] for e in entries(call, "frame_in", "response.create")]
        assert unheard[0]["conversation"] == "none"


async def test_handlers_and_session_updates() -> None:
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


async def test_updates_outlive_their_owner() -> None:
    """The next owner attaches with the session after all updates."""
    audio = {"input": {"turn_detection": {"type": "server_vad"}}, "output": {"speed": 1.0}}
    answering = Agent(session={**TRANSCRIBED, "audio": audio})

    @answering.tool()
    async def change(call: Call) -> None:
        await call.update({"audio": {"output": {"speed": 1.2}}})
        await call.update({"audio": {"input": {"turn_detection": None}}})

    async with rig(answering) as rigged:
        call = await rigged.ring([{"caller": "Faster."}, {"tool": "change"}, {"model": "Yes."}, STAY])
        await rigged.seen(call, "frame_in", "response.create")
        updates = entries(call, "frame_in", "session.update")
        assert len(updates) == 3
        rigged.supervisors[0].stop.set()
        rigged.supervise(answering)
        by_next_owner = await rigged.seen(call, "frame_in", "session.update", after=updates[-1].sequence)
        assert by_next_owner.payload["session"]["audio"] == {
            "input": {"turn_detection": None},
            "output": {"speed": 1.2},
        }


async def test_a_hang_up_waits_for_the_goodbye() -> None:
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


async def test_the_greeting_is_uninterruptible() -> None:
    """An uninterruptible greeting is said with turn detection off, and on again after it."""
    async with rig(agent(greeting="Hello.", greeting_uninterruptible=True)) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 500}, {"hang_up": True}])
        await rigged.ended(call)
        first, second = [e.payload["session"] for e in entries(call, "frame_in", "session.update")]
        assert first["audio"]["input"]["turn_detection"] is None
        assert second["audio"]["input"]["turn_detection"] == {"type": "server_vad"}


async def test_on_end_may_change_the_state() -> None:
    """`on_end` is called once and may change the state."""
    answering = agent()

    @answering.on_end
    async def ended(call: Call) -> None:
        call.state["ended"] = call.state.get("ended", 0) + 1

    async with rig(answering) as rigged:
        record = await rigged.ended(await rigged.ring([{"caller": "Hm."}, {"hang_up": True}]))
        assert record.state == {"ended": 1}
