"""What a call costs must not creep up: ratios to the bare loop, measured in turns, against those kept here."""

from __future__ import annotations

import statistics

import pytest

from tests.bench.harness import openai_server
from tests.bench.peers import BARE_LOOP, side

KEPT = {"cpu_per_event": 1.0, "memory_attach": 1.18}
"""As measured when they were last changed on purpose. Of 50 calls' memory, one more thread would be a third."""
REGRESSION = 1.3
ROUNDS, TALKING, MORE = 3, 50, 300
AT_ONCE = 25  # of the 300: what a burst takes for a moment is not what a call keeps


@pytest.mark.timeout(600)  # five times what it takes; a busy machine is no regression
async def test_cost_of_a_call() -> None:
    """CPU and memory of a call stay within 30 % of what they were."""
    ratios: dict[str, list[float]] = {name: [] for name in KEPT}
    async with openai_server() as server:
        for _ in range(ROUNDS):
            cost: dict[str, dict[str, float]] = {}
            for name in (BARE_LOOP, "sideband"):
                async with side(name, server) as one:
                    await one.attach(TALKING)
                    await server.play(1, 120)
                    spent = one.cpu_seconds
                    frames = await server.play(3, 120)
                    spent = one.cpu_seconds - spent
                    before = one.memory_kb
                    for _ in range(MORE // AT_ONCE):
                        await one.attach(AT_ONCE)
                    cost[name] = {"cpu_per_event": spent / frames, "memory_attach": (one.memory_kb - before) / MORE}
            for name, values in ratios.items():
                values.append(cost["sideband"][name] / cost[BARE_LOOP][name])
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    worse = {name: ratio for name, ratio in medians.items() if ratio > REGRESSION * KEPT[name]}
    assert not worse, f"{worse} where there was {KEPT}: profile it, or change what is kept and say why"
