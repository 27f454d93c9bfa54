"""What a call costs us, a bare loop, and the packages that people would use instead: `python -m tests.bench peers`.

All meet the same server, the same frames and the same load, in turns, each in a process of its own without tracing and
with uvloop; two packages also on asyncio's own loop, as they come. A round of one side: a call alone, whose tool turns
are timed; 100 calls that talk, whose CPU is counted; 500 more that attach at once; tool calls in 500 at once.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle, islice

from tests.bench.environments import PEERS, environment
from tests.bench.harness import Server, Side, client, open_exchange, openai_server, supervisor
from tests.bench.progress import say

ROUNDS = 5
TALKING, MORE = 100, 500
FRAMES_PER_SECOND, TURNS = 30.0, 3
Figures = dict[str, float]

BARE_LOOP = "bare loop"
ON_ASYNCIO = ("openai on asyncio", "openai-agents on asyncio")
SIDES = (BARE_LOOP, "sideband", *PEERS, *ON_ASYNCIO)


async def measure(rounds: int = ROUNDS) -> dict[str, Figures]:
    """Measure all sides in turns; returns the medians of each side's figures."""
    seen: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name in PEERS:
        say(f"peers: installing {name}")
        environment(name)
    async with openai_server() as server:
        for number in range(rounds):
            for name in islice(cycle(SIDES), number, number + len(SIDES)):
                async with side(name, server) as one:
                    figures = await _round(one, server)
                say(f"peers: round {number + 1} of {rounds}, {name}: {figures['cpu_us_per_event']:.1f} µs per event")
                for what, value in figures.items():
                    seen[name][what].append(value)
    return {name: {what: statistics.median(seen[name][what]) for what in seen[name]} for name in SIDES}


@asynccontextmanager
async def side(name: str, server: Server) -> AsyncIterator[Side]:
    """Run a side."""
    async with AsyncExitStack() as stack:
        if name == "sideband":
            exchange = await stack.enter_async_context(open_exchange())
            yield await stack.enter_async_context(supervisor(server, exchange))
        elif name == BARE_LOOP:
            yield await stack.enter_async_context(client(sys.executable, "bare_loop.py", server))
        else:
            package, _, loop = name.partition(" on ")
            script = PEERS[package].script
            yield await stack.enter_async_context(client(environment(package), script, server, loop=loop or "uvloop"))


async def _round(one: Side, server: Server) -> Figures:
    await one.attach(1)
    await server.play(3, 200)
    await server.tools(1, 20)
    alone = await server.tools(1, 100)
    await one.attach(TALKING - 1)
    await server.play(3, 3 * FRAMES_PER_SECOND)
    spent = one.cpu_seconds
    frames = await server.play(TURNS, FRAMES_PER_SECOND)
    spent = one.cpu_seconds - spent
    before, began = one.memory_kb, time.time()
    await one.ring(MORE)
    attached = await server.configured(one.calls, one)
    burst = max(times[0] for times in attached.values()) - began
    attached_kb = one.memory_kb - before
    await server.tools(MORE, 1)
    at_once = await server.tools(MORE, 3, pause_ms=200)
    return {
        "cpu_us_per_event": 1e6 * spent / frames,
        "memory_attach_kb": attached_kb / MORE,
        "tool_turn_1_p50_ms": quantile(alone, 0.5),
        "tool_turn_1_p99_ms": quantile(alone, 0.99),
        "tool_turn_500_p50_ms": quantile(at_once, 0.5),
        "tool_turn_500_p99_ms": quantile(at_once, 0.99),
        "attach_500_seconds": burst,
    }


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which that share of sorted values lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
