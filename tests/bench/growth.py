"""How the time of some work grows with what it is given, whatever else the machine does."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

LENGTHS = (500, 2_000, 8_000, 32_000)  # each four times the last
LINEAR = 8.0  # linear work takes 4 times as long for 4 times as much, and quadratic work 16 times
TRIES = 8


def growth(work: Callable[[str], object], text: Callable[[int], str]) -> float:
    """Return by how much the time grew at most, when the text grew fourfold.

    Stops at the first growth that is not linear, since the next one may take minutes.

    Args:
        work: what reads the text.
        text: makes one of about this length.
    """
    most = 0.0
    for length in LENGTHS[:-1]:
        most = max(most, times_as_long(work, text(length), text(4 * length), at_most=LINEAR))
        if most > LINEAR:
            break
    return most


def times_as_long(work: Callable[[str], object], first: str, second: str, *, at_most: float) -> float:
    """Return how many times as long the second text takes as the first.

    Both are measured in turns and by their least processor time, up to 8 times while the ratio is over `at_most`:
    other work on the machine only adds to it.
    """
    least_first = least_second = inf
    for _ in range(TRIES):
        least_first = min(least_first, _cpu_seconds(work, first))
        least_second = min(least_second, _cpu_seconds(work, second))
        if least_second <= at_most * least_first:
            break
    return least_second / least_first


def _cpu_seconds(work: Callable[[str], object], text: str) -> float:
    began = time.thread_time()
    work(text)
    return time.thread_time() - began
