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

Kind = Literal["kill", "restart", "freeze", "stall", "isolate", "hiccup", "lock"]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that was done to one process, or, with `pid` None, to all of them."""

    kind: Kind
    pid: int | None
    at: float
    until: float = inf

    def strikes(self, pid: int) -> bool:
        """Whether it was done to this process."""
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
    """How a process went: its exit status, and how long after SIGTERM, if it was told to stop."""

    pid: int
    status: int | None
    seconds: float | None
    told: bool
    """Whether the plan had it end."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is known of a run."""

    lease_seconds: float
    logs: Mapping[str, Sequence[Entry]]
    """By call id: what OpenAI saw of the call, in order."""
    records: Mapping[str, CallRecord | None]
    effects: Sequence[Effect] = ()
    disturbances: Sequence[Disturbance] = ()
    said: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """By process id: the lines that each supervisor logged."""
    stops: Sequence[Stop] = ()


def read_effects(lines: Iterable[str]) -> list[Effect]:
    """Read the lines that `tests.chaos.agent` writes."""
    effects = []
    for line in lines:
        tool, key, pid = line.split()[:3]
        call_id, _, tool_call_id = key.partition(":")
        effects.append(Effect(tool, call_id, tool_call_id, int(pid)))
    return effects


def pid_of(who: str) -> int:
    """The process id at the end of a supervisor's User-Agent; 0 for anybody else."""
    number = who.rstrip(")").rpartition("-")[2]
    return int(number) if number.isdigit() else 0
