"""What happens in a run, and when: a pure function of its seed and its size."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

Script = list[dict[str, Any]]
FaultKind = Literal[
    "kill",  # kill -9, and a new process after a second
    "restart",  # SIGTERM, and a new process beside it
    "freeze",  # SIGSTOP for longer than a lease
    "cut",  # every socket is torn
    "isolate",  # Pub/Sub is out of reach of one supervisor for longer than a lease
    "rest",  # accepts and hang-ups fail, some after they took effect, some after a long wait
    "webhooks",  # deliveries are doubled, or late
    "close",  # every socket is closed with a code
    "stall",  # SIGSTOP for less than a lease
    "lock",  # the record store is out of reach for everybody
    "upgrades",  # every socket is torn, and attaches are refused for a while
    "hiccup",  # Pub/Sub is out of reach of one supervisor for less than a lease
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

LEASE_SECONDS = 10
_SECONDS: dict[FaultKind, float] = {
    "kill": 1,  # without a process
    "freeze": LEASE_SECONDS + 4,
    "isolate": LEASE_SECONDS + 4,
    "stall": 2,
    "hiccup": 2,
    "lock": 1.5,
}
_START_SECONDS = 3.0  # that a new process needs, about
_CLOSE_CODES = (1000, 1001, 1011, 1012, 1013)
_REFUSALS = (401, 403, 409, 429, 500, 503)

CALLS_ARRIVE_UNTIL = 0.65  # of the run
FAULTS_FROM, FAULTS_UNTIL = 0.08, 0.8
FAULT_EVERY_SECONDS = 5.0  # or more often, in a short run: each kind strikes at least once
ANNOUNCED_TWICE = 0.1  # of the calls
BARGE_IN = 0.2  # of the turns


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call, when it comes, and whether its notice is published a second time under another message id."""

    at_seconds: float
    script: Script
    announced_twice: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: when it strikes, and which supervisor, by its number."""

    at_seconds: float
    kind: FaultKind
    target: int = 0
    lasts_seconds: float = 0.0
    code: int = 0
    """The close code, or the HTTP status, of those that have one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is going to happen."""

    calls: list[PlacedCall]
    faults: list[Fault]


def make_plan(*, seed: int, calls: int, seconds: float, supervisors: int, kinds: tuple[FaultKind, ...] = KINDS) -> Plan:
    """Plan the calls and the faults of a run.

    Args:
        seed: the same seed gives the same plan.
        calls: how many callers there are.
        seconds: how long the run takes; calls and faults are spread over it.
        supervisors: how many there are to strike.
        kinds: which faults, in turn.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    arrivals = sorted(chance.uniform(0, seconds * CALLS_ARRIVE_UNTIL) for _ in range(calls))
    placed = [PlacedCall(at, _script(chance, seconds), chance.random() < ANNOUNCED_TWICE) for at in arrivals]
    return Plan(placed, _faults(chance, seconds, supervisors, kinds))


def _faults(chance: random.Random, seconds: float, supervisors: int, kinds: tuple[FaultKind, ...]) -> list[Fault]:
    """Plan faults in turn, each on a supervisor that no other has in hand, if there is one."""
    span = seconds * (FAULTS_UNTIL - FAULTS_FROM)
    count = max(len(kinds), int(span / FAULT_EVERY_SECONDS))
    busy_until = [0.0] * supervisors
    faults = []
    for number in range(count):
        at, kind = seconds * FAULTS_FROM + number * span / count, kinds[number % len(kinds)]
        free = [target for target, until in enumerate(busy_until) if until <= at]
        target = chance.choice(free or list(range(supervisors)))
        lasts = _SECONDS.get(kind, 0.0)
        if kind in ("kill", "restart", "freeze", "isolate", "stall", "hiccup"):
            busy_until[target] = at + lasts + _START_SECONDS
        faults.append(Fault(at, kind, target, lasts, chance.choice(_REFUSALS if kind == "upgrades" else _CLOSE_CODES)))
    return faults


def _script(chance: random.Random, seconds: float) -> Script:
    """Make up a conversation: turns with tools, pauses between them, and one of several ends."""
    steps: Script = [{"wait_for": "greeting"}]
    turn_seconds = max(2.0, min(8.0, seconds / 12))
    for _ in range(chance.randint(2, 4)):
        steps += [{"pause_ms": round(chance.uniform(0.3, 1) * turn_seconds * 1000)}, {"caller": "Please."}]
        steps.append(chance.choice(_TURNS)(chance))
        if chance.random() < BARGE_IN:
            steps.append({"barge_in": "One more thing."})
    return [*steps, *chance.choices(_ENDS, weights=(7, 1, 1, 1))[0]]


def _tool(chance: random.Random) -> dict[str, Any]:
    return {"tool": chance.choice(("pay", "look")), "arguments": {"ms": chance.choice((0, 0, 200, 1500, 4000))}}


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
    [{"caller": "Goodbye."}, {"tool": "hang_up"}, {"pause_ms": 20_000}, {"hang_up": "now"}],
)
