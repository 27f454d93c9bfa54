"""What happens in a run, and when: a pure function of its seed and its size."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Script = list[dict[str, Any]]
FaultKind = Literal[
    "kill",  # kill -9, and a new process after a second
    "restart",  # SIGTERM, and a new process beside it
    "freeze",  # SIGSTOP for longer than a lease
    "stall",  # SIGSTOP for less than a lease
    "isolate",  # Pub/Sub is out of reach of one supervisor for longer than a lease
    "hiccup",  # ... for less than a lease
    "cut",  # every socket is torn
    "close",  # every socket is closed with a code
    "upgrades",  # attaches are refused for a while
    "rest",  # accepts fail, some after they took effect
    "webhooks",  # deliveries are doubled, or late
    "lock",  # the record store is locked by somebody else
]
KINDS: tuple[FaultKind, ...] = (
    "kill",
    "restart",
    "freeze",
    "cut",
    "isolate",
    "rest",
    "webhooks",
    "close",
    "stall",
    "lock",
    "upgrades",
    "hiccup",
)
CALLS_ARRIVE_UNTIL = 0.65  # of the run
FAULTS_FROM, FAULTS_UNTIL = 0.08, 0.8


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call, when it comes, and whether its notice is published a second time under another message id."""

    at_seconds: float
    script: Script
    announced_twice: bool


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, when it strikes, and which supervisor, by its number."""

    at_seconds: float
    kind: FaultKind
    target: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is going to happen."""

    calls: list[PlacedCall]
    faults: list[Fault]


def make_plan(
    *,
    seed: int,
    calls: int,
    seconds: float,
    supervisors: int,
    every_seconds: float,
    kinds: tuple[FaultKind, ...] = KINDS,
) -> Plan:
    """Plan a run.

    Args:
        seed: the same seed gives the same plan.
        calls: how many callers there are.
        seconds: how long the run takes; calls and faults are spread over it.
        supervisors: how many there are to strike.
        every_seconds: the time from one fault to the next.
        kinds: which faults, in turn.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    arrivals = sorted(chance.uniform(0, seconds * CALLS_ARRIVE_UNTIL) for _ in range(calls))
    placed = [PlacedCall(at, _script(chance, seconds), chance.random() < 0.1) for at in arrivals]
    count = max(len(kinds), int(seconds * (FAULTS_UNTIL - FAULTS_FROM) / every_seconds))
    step = seconds * (FAULTS_UNTIL - FAULTS_FROM) / count
    faults = [
        Fault(seconds * FAULTS_FROM + number * step, kinds[number % len(kinds)], chance.randrange(supervisors))
        for number in range(count)
    ]
    return Plan(placed, faults)


def _script(chance: random.Random, seconds: float) -> Script:
    """A caller's conversation: some turns with tools, pauses between them, and one of several ends."""
    steps: Script = [{"wait_for": "greeting"}]
    turn_seconds = max(2.0, min(8.0, seconds / 12))
    for _ in range(chance.randint(2, 4)):
        steps += [{"pause_ms": round(chance.uniform(0.3, 1) * turn_seconds * 1000)}, {"caller": "Please."}]
        steps.append(chance.choice(_TURNS)(chance))
        if chance.random() < 0.2:
            steps.append({"barge_in": "One more thing."})
    return [*steps, *chance.choices(_ENDS, weights=(8, 1, 1))[0]]


def _tool(chance: random.Random) -> dict[str, Any]:
    return {"tool": chance.choice(("pay", "look")), "arguments": {"ms": chance.choice((0, 0, 200, 1500))}}


_TURNS: tuple[Callable[[random.Random], dict[str, Any]], ...] = (
    _tool,
    _tool,
    lambda chance: {"tools": [_tool(chance), _tool(chance)]},
    lambda _: {"model": "That is all there is to say."},
)
_ENDS: tuple[Script, ...] = (
    [{"caller": "Goodbye."}, {"model": "Goodbye."}, {"hang_up": True}],
    [{"caller": "Quickly."}, {"tool": "pay", "arguments": {"ms": 1000}}, {"hang_up": "now"}],
    [{"hang_up": "now"}],
)
