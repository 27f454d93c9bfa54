"""What a run leaves for the oracle: OpenAI's log, the side effects, the records, and what was done to whom.

All times are seconds of the monotonic clock, which all processes of one machine share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from emulator.openai import Entry
from supervisor.records.record import CallRecord
from tests.chaos.stalls import Stall, seconds_without_stalls

Kind = Literal["kill", "restart", "freeze", "stall", "isolate", "hiccup", "lock"]
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that was done to one process, or, with `pid` None, to all of them."""

    kind: Kind
    pid: int | None
    at: float
    until: float = inf

    def strikes(self, pid: int) -> bool:
        """Return whether it was done to this process."""
        return self.pid in (None, pid)


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that a tool of the chaos agent did in the world."""

    tool: str
    call_id: str
    tool_call_id: str
    pid: int


@dataclass(frozen=True, slots=True)
class Stop:
    """How a process ended."""

    pid: int
    status: int | None
    """Its exit status; None where it was killed, or given up."""
    planned: bool
    """Whether the plan had it end."""
    stopping: Span | None = None
    """From SIGTERM to its end, where it was told to stop."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known of a run."""

    lease_seconds: float
    logs: Mapping[str, Sequence[Entry]]
    """By call id: what OpenAI saw of the call, in order."""
    records: Mapping[str, CallRecord | None]
    effects: Sequence[Effect] = ()
    disturbances: Sequence[Disturbance] = ()
    log_lines: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """By process id: the lines that each supervisor logged."""
    stops: Sequence[Stop] = ()
    stalls: Sequence[Stall] = ()
    """When the machine was too busy to be in time."""

    def seconds(self, since: float, until: float) -> float:
        """Return the length of a span, less what the machine was late."""
        return seconds_without_stalls(since, until, self.stalls)


def read_effects(lines: Iterable[str]) -> list[Effect]:
    """Read the lines that `tests.chaos.agent` writes."""
    effects = []
    for line in lines:
        tool, key, pid = line.split()[:3]
        call_id, _, tool_call_id = key.partition(":")
        effects.append(Effect(tool, call_id, tool_call_id, int(pid)))
    return effects


def pid_of(who: str) -> int:
    """Read the process id in a supervisor's User-Agent; 0 for anybody else."""
    number = who.rstrip(")").rpartition("-")[2]
    return int(number) if number.isdigit() else 0
