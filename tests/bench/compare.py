"""Ours beside a hello world: the same work by both, in turns, on one machine at one time."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypedDict

Side = Literal["ours", "hello"]


class Compared(TypedDict):
    """One figure of both, each the median of its rounds; the unit is in the name that this stands under."""

    ours: float
    hello: float
    ratio: float
    """Ours ÷ hello: the median of the rounds' own ratios, since the two sides of a round met the same noise."""


def turns(rounds: int) -> Iterator[Side]:
    """Say whose turn it is; rounds begin with either side by turns."""
    for number in range(rounds):
        yield from ("ours", "hello") if number % 2 else ("hello", "ours")


def compared(figures: Mapping[Side, Sequence[float]]) -> Compared:
    """Return the medians of both sides' rounds, and of their ratios."""
    ours, hello = figures["ours"], figures["hello"]
    ratios = [mine / theirs for mine, theirs in zip(ours, hello, strict=True)]
    return {"ours": statistics.median(ours), "hello": statistics.median(hello), "ratio": statistics.median(ratios)}


def show(rows: Mapping[str, Compared]) -> None:
    """Print a table."""
    sys.stdout.write(f"{'':32} {'ours':>9} {'hello':>9} {'ratio':>7}\n")
    for name, row in rows.items():
        sys.stdout.write(f"{name:32} {row['ours']:9.3f} {row['hello']:9.3f} {row['ratio']:7.2f}\n")
