"""What a call costs must not creep up: ratios to the floor, both sides in turns, against those that are kept here."""

from __future__ import annotations

import statistics

import pytest

from tests.bench.harness import openai_server
from tests.bench.peers import side

KEPT = {"cpu_per_event": 0.95, "memory_attach": 1.25}
"""As measured when they were last changed on purpose."""
REGRESSION = 1.3
ROUNDS, CALLS = 3, 50


@pytest.mark.timeout(180)
async def test_cpu_and_memory_of_a_call_stay_within_30_percent_of_what_they_were() -> None:
    ratios: dict[str, list[float]] = {name: [] for name in KEPT}
    async with openai_server() as server:
        for _ in range(ROUNDS):
            cost: dict[str, dict[str, float]] = {}
            for name in ("floor", "sideband"):
                async with side(name, server) as one:
                    await one.attach(2)
                    await server.play(3, 200)
                    before = one.memory_kb
                    await one.attach(CALLS)
                    attached_kb = one.memory_kb - before
                    spent = one.cpu_seconds
                    frames = await server.play(3, 120)
                    cost[name] = {
                        "cpu_per_event": (one.cpu_seconds - spent) / frames,
                        "memory_attach": attached_kb / CALLS,
                    }
            for name, values in ratios.items():
                values.append(cost["sideband"][name] / cost["floor"][name])
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    worse = {name: ratio for name, ratio in medians.items() if ratio > REGRESSION * KEPT[name]}
    assert not worse, f"{worse} where there was {KEPT}: profile it, or change what is kept and say why"
