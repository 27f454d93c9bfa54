"""Who gets in: what an agent's rule, the router and limits decide while it rings."""

import asyncio

import pytest

from sideband import Accept, Incoming, Reject, Router
from sideband._rig import entries, rig
from supervisor.outcomes import EndReason
from tests.support.transcribed import STAY, agent, requested


class TestDeciding:
    async def test_a_rule_rejects_with_a_sip_code(self) -> None:
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

    async def test_a_rule_accepts_with_a_session_and_a_state_of_its_own(self) -> None:
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
    async def test_a_rule_that_fails_rejects_rather_than_letting_it_ring(self, kind: str) -> None:
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

    async def test_the_router_chooses_by_the_dialled_number_and_the_context(self) -> None:
        router = Router({"day": agent(greeting="day"), "vip": agent(greeting="vip")})
        router.dialled("+31207654321", "day")
        router.context("tier", "gold", "vip")
        async with rig(router) as rigged:
            by_number = await rigged.ring([{"wait_for": "greeting"}, {"hang_up": True}])
            by_context = await rigged.ring([{"wait_for": "greeting"}, {"hang_up": True}], context={"tier": "gold"})
            assert (await rigged.ended(by_number)).agent == "day"
            assert (await rigged.ended(by_context)).agent == "vip"
            assert requested(by_number)[0] == "day"
            assert requested(by_context)[0] == "vip"

    async def test_a_call_for_nobody_is_rejected_with_404(self) -> None:
        async with rig(Router({"day": agent()})) as rigged:
            call = await rigged.ring([])
            assert (await rigged.ended(call)).end_reason is EndReason.REJECTED
            assert entries(call, "end")[0].payload["status_code"] == 404

    async def test_more_calls_than_an_agent_may_have_at_once_are_busy(self) -> None:
        async with rig(agent(max_calls=2)) as rigged:
            calls = [await rigged.ring([STAY]) for _ in range(3)]
            records = [asyncio.create_task(rigged.ended(call)) for call in calls]
            done, _ = await asyncio.wait(records, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result().end_reason for task in done] == [EndReason.REJECTED]
            rejected = [call for call in calls if call.state == "ended"]
            assert entries(rejected[0], "end")[0].payload["status_code"] == 486
            for task in records:
                task.cancel()


async def test_an_accept_that_leads_nowhere_is_hung_up_and_named() -> None:
    """OpenAI said 200 to a session that it can't use; nothing can be attached to (complaint C2)."""
    async with rig(agent(), options={"attachable_after_ms": 60_000}) as rigged:
        call = await rigged.ring([])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.NEVER_ATTACHED
        assert call.end_reason == "hangup"
