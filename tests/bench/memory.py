"""What a call takes of memory, at its start and after 20 turns, and whether it stops growing: `... bench memory`.

Memory is what the operating system would get back from the process, less what it had when 5 calls had talked for a
while.
"""

from __future__ import annotations

import asyncio
from typing import TypedDict

from tests.bench.environments import PEERS
from tests.bench.harness import Server, Side, openai_server
from tests.bench.peers import BARE_LOOP, side
from tests.bench.progress import say

FIRST = 5
SIZES = (200, 500, 1000)
MOST_FRAMES_PER_SECOND = 15_000  # of all calls together
PEER_SIZE, PEER_FRAMES_PER_SECOND = 200, 6_000
LONG_CALLS, LONG_TURNS = 100, (20, 60, 100, 140, 200)
QUIET_SECONDS = 1.0


class Sample(TypedDict):
    """One side with so many calls; memory is for each call."""

    side: str
    calls: int
    attach_kb: float
    after_20_turns_kb: float


class MemoryFigures(TypedDict):
    """All of it."""

    samples: list[Sample]
    long_turns: list[float]
    long_kb: list[float]
    """Memory for each of 100 calls after so many turns."""


async def measure() -> MemoryFigures:
    """Measure each side once: memory does not depend on what else the machine does."""
    samples = []
    async with openai_server() as server:
        for calls in SIZES:
            for name in (BARE_LOOP, "sideband"):
                async with side(name, server) as one:
                    samples.append(await _sample(name, one, server, calls, most=MOST_FRAMES_PER_SECOND))
        for name in PEERS:
            async with side(name, server) as one:
                samples.append(await _sample(name, one, server, PEER_SIZE, most=PEER_FRAMES_PER_SECOND))
        async with side("sideband", server) as one:
            long_kb = await _long(one, server)
    return {"samples": samples, "long_turns": [float(n) for n in LONG_TURNS], "long_kb": long_kb}


async def _base(one: Side, server: Server) -> int:
    await one.attach(FIRST)
    await server.play(20, 200)
    await asyncio.sleep(QUIET_SECONDS)
    return one.memory_kb


async def _sample(name: str, one: Side, server: Server, calls: int, *, most: float) -> Sample:
    base = await _base(one, server)
    await one.attach(calls - FIRST)
    await asyncio.sleep(QUIET_SECONDS)
    attach_kb = (one.memory_kb - base) / (calls - FIRST)
    await server.play(20, min(60.0, most / calls))
    await asyncio.sleep(QUIET_SECONDS)
    after_kb = (one.memory_kb - base) / (calls - FIRST)
    say(f"memory: {name}, {calls} calls: {attach_kb:.1f} kB, after 20 turns {after_kb:.1f} kB")
    return {"side": name, "calls": calls, "attach_kb": attach_kb, "after_20_turns_kb": after_kb}


async def _long(one: Side, server: Server) -> list[float]:
    base = await _base(one, server)
    await one.attach(LONG_CALLS)
    found, played = [], 0
    for turns in LONG_TURNS:
        await server.play(turns - played, MOST_FRAMES_PER_SECOND / (LONG_CALLS + FIRST))
        played = turns
        await asyncio.sleep(QUIET_SECONDS)
        found.append((one.memory_kb - base) / LONG_CALLS)
        say(f"memory: {turns} turns: {found[-1]:.1f} kB a call")
    return found
