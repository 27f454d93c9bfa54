"""Guards: what is said can stop the model or cut it off."""

from sideband import Call
from sideband._rig import entries, rig
from supervisor.outcomes import EndReason
from tests.support.rigged import STAY, agent, asked_for


async def test_a_guard_on_the_caller_stops_it() -> None:
    """What the caller says can stop the model."""
    answering = agent()

    @answering.guard.input
    def no_cards(_call: Call, text: str) -> str | None:
        return "Please do not tell me card numbers." if "card" in text else None

    async with rig(answering) as rigged:
        call = await rigged.ring([{"caller": "My card is 4111."}, {"model": "I note 4111."}, STAY])
        await rigged.seen(call, "frame_in", "response.create")
        assert "do not tell me card numbers" in asked_for(call)[0]


async def test_a_guard_on_the_model_cuts_it_off() -> None:
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


async def test_a_failing_guard_ends_no_call() -> None:
    """A guard that fails does not end the call."""
    answering = agent()

    @answering.guard.input
    def broken(_call: Call, _text: str) -> str:
        raise RuntimeError

    async with rig(answering) as rigged:
        call = await rigged.ring([{"caller": "Hm."}, {"model": "Yes."}, {"hang_up": True}])
        assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP
