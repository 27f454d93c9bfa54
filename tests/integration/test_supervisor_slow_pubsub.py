"""Supervisors on a Pub/Sub that is slow, silent, or out of reach: calls in hand are kept, and new ones wait."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import pytest

from sideband import Agent
from sideband._rig import entries, rig
from supervisor.outcomes import EndReason
from supervisor.supervisor import Supervisor
from tests.chaos.proxy import proxy_to
from tests.support.made_supervisors import held_by, state_is

STAY: dict[str, Any] = {"pause_ms": 60_000}
LEASE_SECONDS = 10
WITHIN_SECONDS = 60.0


def agent() -> Agent:
    return Agent(session={"model": "gpt-realtime-2.1"}, greeting="Greet.")


async def test_slow_modacks(made: list[Supervisor]) -> None:
    """Renewals are applied and answered after 3 s: calls are taken, by one owner each, and kept for many leases."""
    async with rig(agent(), supervisors=2) as rigged:
        rigged.pubsub_server.latency.change({"modify_ack_deadline": {"delay_seconds": 3}})
        calls = [await rigged.ring([STAY]) for _ in range(3)]
        for call in calls:
            await rigged.seen(call, "frame_in", "response.create")
        held = held_by(made)
        assert len(held) == 3
        first = [claim.write_until for claim in held]
        async with asyncio.timeout(WITHIN_SECONDS):
            while any(claim.write_until < until + 2 * LEASE_SECONDS for claim, until in zip(held, first, strict=True)):
                assert not any(claim.lost for claim in held)
                await asyncio.sleep(0.1)
        assert [len(entries(call, "attach")) for call in calls] == [1, 1, 1]


async def test_no_new_calls(made: list[Supervisor]) -> None:
    """While leases are not renewed, nothing is pulled, and /readyz says so; then what rang meanwhile is answered."""
    async with rig(agent()) as rigged:
        call = await rigged.ring([STAY])
        await rigged.seen(call, "frame_in", "response.create")
        await state_is(made, ready=True)
        rigged.pubsub_server.latency.change({"modify_ack_deadline": {"answered": False}})
        await state_is(made, ready=False)
        rigged.pubsub_server.latency.reset()
        await state_is(made, ready=True)
        other = await rigged.ring([STAY])
        await rigged.seen(other, "frame_in", "response.create")
        assert len(entries(call, "attach")) == 1


async def test_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where renewals are lost until the deliveries run out, the caller is refused, and no call dies as a letter."""
    monkeypatch.setattr("supervisor.claims.leases.LAST_ATTEMPT", 2)
    monkeypatch.setattr("supervisor.calls.owner.LAST_ATTEMPT", 2)
    async with rig(agent(), supervisors=2) as rigged:
        rigged.pubsub_server.latency.change({"modify_ack_deadline": {"applied": "never"}})
        call = await rigged.ring([STAY])
        record = await rigged.ended(call)
    assert (record.end_reason, record.delivery_attempt, record.failures) == (EndReason.UNREACHABLE, 2, 0)
    assert entries(call, "end")[0].payload["status_code"] == HTTPStatus.SERVICE_UNAVAILABLE


async def test_out_of_reach(made: list[Supervisor]) -> None:
    """Without calls in hand, too, a supervisor that can't reach Pub/Sub is not ready, and recovers."""
    async with rig(agent(), supervisors=0) as rigged, proxy_to(rigged.pubsub) as proxy:
        rigged.supervise(agent(), pubsub_emulator_host=proxy.host_port)
        await state_is(made, ready=True)
        proxy.cut()
        await state_is(made, ready=False)
        proxy.mend()
        await state_is(made, ready=True)
        call = await rigged.ring([STAY])
        await rigged.seen(call, "frame_in", "response.create")


async def test_a_dead_connection(made: list[Supervisor]) -> None:
    """A connection that is dead and says nothing is no reason to leave callers ringing."""
    async with rig(agent(), supervisors=0) as rigged, proxy_to(rigged.pubsub) as proxy:
        rigged.supervise(agent(), pubsub_emulator_host=proxy.host_port)
        await state_is(made, ready=True)
        proxy.deaden()
        call = await rigged.ring([{"pause_ms": 60_000}])
        await rigged.seen(call, "frame_in", "response.create")
