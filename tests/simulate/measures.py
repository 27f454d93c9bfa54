"""Counts by the second, and how values are spread."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from simpy import Environment


class Spread(TypedDict):
    """How values lie, in their own unit."""

    count: int
    p50: float
    p99: float
    most: float


@dataclass(eq=False)
class Counts:
    """What happened, by the second in which it did."""

    env: Environment
    _by_second: defaultdict[str, defaultdict[int, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )

    def add(self, what: str, count: float = 1) -> None:
        """Count something that happens now."""
        self._by_second[what][int(self.env.now)] += count

    def clear(self) -> None:
        """Forget what happened so far."""
        self._by_second.clear()

    def total(self, what: str) -> float:
        """Say how often it happened."""
        return sum(self._by_second[what].values())

    def series(self, what: str, seconds: int) -> list[float]:
        """Say how often it happened in each second."""
        return [self._by_second[what][second] for second in range(seconds)]

    def busiest_second(self, what: str) -> float:
        """Say how often it happened in the busiest second."""
        return max(self._by_second[what].values(), default=0.0)


def spread(values: Sequence[float]) -> Spread:
    """Describe values by their number and three of them."""
    if not values:
        return {"count": 0, "p50": 0.0, "p99": 0.0, "most": 0.0}
    shares = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return {"count": len(values), "p50": shares[49], "p99": shares[98], "most": max(values)}
