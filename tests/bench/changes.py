"""How calls change hands, and how all grows with their number: `python -m tests.bench changes`.

For each number of calls: they ring at once and are attached; they talk at 15 events a second; their supervisor is told
to stop, and another takes all over; that one is killed, and a third takes over when the leases have run out.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Mapping, Sequence
from typing import TypedDict

from tests.bench.harness import Exchange, Server, open_exchange, openai_server, supervisor
from tests.bench.peers import quantile
from tests.bench.progress import say

SIZES = (1, 10, 100, 500, 1000)
LEASE_SECONDS = 10
FRAMES_PER_SECOND, TURNS = 15.0, 3
Times = Mapping[str, Sequence[float]]


class Change(TypedDict):
    """One number of calls; seconds, unless the name says otherwise."""

    calls: int
    attach_seconds: float
    """From the notices' publication to the last call's configuration."""
    memory_mb: float
    cpu_percent: float
    """Of a core, while they talk."""
    handover_p50_seconds: float
    """From SIGTERM to the configuration by the next owner."""
    handover_p99_seconds: float
    handover_gap_p99_ms: float
    """How long a call had no sideband; 0 where the next owner was there before the last had gone."""
    recovery_p50_seconds: float
    """From `kill -9` to the configuration by the next owner; the lease is 10 s."""
    recovery_p99_seconds: float


async def measure(sizes: Sequence[int] = SIZES) -> list[Change]:
    """Measure each number once."""
    changes = []
    async with openai_server() as server:
        for calls in sizes:
            async with open_exchange() as exchange:
                changes.append(await _change(server, exchange, calls))
    return changes


async def _change(server: Server, exchange: Exchange, calls: int) -> Change:
    lease = str(LEASE_SECONDS)
    async with supervisor(server, exchange, LEASE_SECONDS=lease) as first:
        await first.attach(1)
        await server.play(3, 200)
        base, began = first.memory_kb, time.time()
        await first.ring(calls)
        attached = await server.configured(first.calls, first)
        attach_seconds = max(times[0] for times in attached.values()) - began
        memory_mb = (first.memory_kb - base) / 1024
        spent, talked = first.cpu_seconds, time.monotonic()
        await server.play(TURNS, FRAMES_PER_SECOND)
        cpu_percent = 100 * (first.cpu_seconds - spent) / (time.monotonic() - talked)
        total = first.calls
        async with supervisor(server, exchange, LEASE_SECONDS=lease) as second:
            await second.ready()
            stopped = time.time()
            first.child.send_signal(signal.SIGTERM)
            await server.configured(total, second)
            await first.child.wait()
            await asyncio.sleep(1)  # until the server has seen the last old sideband closed
            times = await server.times()
            handovers = _since(stopped, times["configured"])
            closed = times["closed"]
            gaps = sorted(max(0.0, new[0] - closed[call_id][0]) for call_id, new in times["configured"].items())
            async with supervisor(server, exchange, LEASE_SECONDS=lease) as third:
                await third.ready()
                killed = time.time()
                second.child.kill()
                await server.configured(total, third)
                recoveries = _since(killed, (await server.times())["configured"])
    say(f"changes: {calls} calls: attached in {attach_seconds:.2f} s, handed over in {handovers[-1]:.2f} s")
    return {
        "calls": calls,
        "attach_seconds": attach_seconds,
        "memory_mb": memory_mb,
        "cpu_percent": cpu_percent,
        "handover_p50_seconds": quantile(handovers, 0.5),
        "handover_p99_seconds": quantile(handovers, 0.99),
        "handover_gap_p99_ms": 1000 * quantile(gaps, 0.99),
        "recovery_p50_seconds": quantile(recoveries, 0.5),
        "recovery_p99_seconds": quantile(recoveries, 0.99),
    }


def _since(moment: float, configured: Times) -> list[float]:
    return sorted(times[-1] - moment for times in configured.values())


def exponent(calls: Sequence[float], values: Sequence[float]) -> float:
    """Return the k of a growth like calls**k.

    It is the slope of a straight line through the logarithms.
    """
    x, y = [math.log(n) for n in calls], [math.log(value) for value in values]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((one - middle_x) * (other - middle_y) for one, other in zip(x, y, strict=True))
    return above / sum((one - middle_x) ** 2 for one in x)
