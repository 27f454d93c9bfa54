"""What one process carries: `python -m tests.bench carried`. 1,000 calls talk at 15 events a second each."""

from __future__ import annotations

from typing import TypedDict

from tests.bench.harness import open_exchange, openai_server, supervisor
from tests.bench.peers import quantile
from tests.bench.progress import say

CALLS, TURNS, FRAMES_PER_SECOND = 1000, 9, 15.0


class Carried(TypedDict):
    """1,000 calls at 15 events a second each, in one process."""

    core_percent: float
    """While all of them talk."""
    event_to_handler_p50_ms: float
    event_to_handler_p99_ms: float
    renewals_failed: int
    leases_lost: int


async def measure() -> Carried:
    """Measure once, after a round to warm up; takes a minute and a half."""
    async with openai_server() as server, open_exchange() as exchange, supervisor(server, exchange) as one:
        await one.attach(CALLS)
        await server.play(3, FRAMES_PER_SECOND, apart=True)
        one.ages.write_text("")
        spent = one.cpu_seconds
        frames = await server.play(TURNS, FRAMES_PER_SECOND, apart=True)
        percent = 100 * (one.cpu_seconds - spent) / frames * CALLS * FRAMES_PER_SECOND
        ages = sorted(float(line) for line in one.ages.read_text().split())
        log = one.log.read_text()
    say(f"carried: {CALLS:,} calls take {percent:.0f} % of a core, p99 {quantile(ages, 0.99):.1f} ms to the handler")
    return {
        "core_percent": percent,
        "event_to_handler_p50_ms": quantile(ages, 0.5),
        "event_to_handler_p99_ms": quantile(ages, 0.99),
        "renewals_failed": log.count('"renewal_failed"'),
        "leases_lost": log.count('"claim_lost"'),
    }
