"""Who answers a call, if anybody: an agent's rule, the router, and how many calls there may be."""

import asyncio

import pytest

from sideband import Accept, Incoming, Reject, Router
from sideband._rig import entries, rig
from supervisor.outcomes import EndReason
from tests.support.rigged import STAY, agent, asked_for


async def test_a_rule_rejects_with_a_sip_code() -> None:
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


async def test_a_rule_accepts_with_a_session() -> None:
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
async def test_a_failing_rule_rejects(kind: str) -> None:
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


async def test_the_router_chooses_an_agent() -> None:
    """The router chooses by the dialled number and the context."""
    router = Router({"day": agent(greeting="day"), "vip": agent(greeting="vip")})
    router.dialled("+31207654321", "day")
    router.context("tier", "gold", "vip")
    async with rig(router) as rigged:
        by_number = await rigged.ring([{"wait_for": "greeting"}, {"hang_up": True}])
        by_context = await rigged.ring([{"wait_for": "greeting"}, {"hang_up": True}], context={"tier": "gold"})
        assert (await rigged.ended(by_number)).agent == "day"
        assert (await rigged.ended(by_context)).agent == "vip"
        assert asked_for(by_number)[0] == "day"
        assert asked_for(by_context)[0] == "vip"


async def test_a_call_for_nobody_gets_404() -> None:
    """A call for which the router has no agent is rejected with 404."""
    async with rig(Router({"day": agent()})) as rigged:
        call = await rigged.ring([])
        assert (await rigged.ended(call)).end_reason is EndReason.REJECTED
        assert entries(call, "end")[0].payload["status_code"] == 404


async def test_calls_beyond_the_limit_are_busy() -> None:
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
