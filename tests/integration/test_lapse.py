"""What happens in a call while its claim is lapsed waits for Pub/Sub's verdict, and is not lost."""

from __future__ import annotations

from sideband import Agent
from sideband._rig import outputs, rig
from supervisor.supervisor import Supervisor
from tests.support.made_supervisors import held_by
from tests.support.polling import until
from tests.support.rigged import STAY

LAPSED_BY_MS = 11_000  # a lease is 10 s, and is renewed at the latest just before it hangs


async def test_a_tool_call_in_a_lapse(made: list[Supervisor]) -> None:
    """A tool call that comes in a lapse is run and answered, once, when the renewal succeeds at last."""
    ran: list[str] = []
    agent = Agent(session={"model": "gpt-realtime-2.1"}, greeting="Greet.")

    @agent.tool
    async def book(day: str) -> str:
        """Book a day."""
        ran.append(day)
        return "booked"

    async with rig(agent) as rigged:
        tool = {"tool": "book", "arguments": {"day": "Monday"}}
        pause, caller = {"pause_ms": LAPSED_BY_MS}, {"caller": "On Monday."}
        call = await rigged.ring([{"model": "Hello."}, pause, caller, tool, STAY])
        await rigged.seen(call, "frame_in", "response.create")
        (claim,) = held_by(made)
        rigged.pubsub_server.latency.change({"modify_ack_deadline": {"delay_seconds": 60}})
        await rigged.seen(call, "frame_out", "response.function_call_arguments.done")
        assert (claim.may_write(), claim.lost, outputs(call)) == (False, False, {})
        rigged.pubsub_server.latency.reset()
        await until(lambda: outputs(call))
    assert (ran, [*outputs(call).values()]) == (["Monday"], [["booked"]])
