"""Limit the calls of an agent, and of a caller, in this process."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from supervisor.agents.agent import Agent


@dataclass(slots=True)
class Seats:
    """The calls that this process has.

    Those that it still decides about count too.
    """

    taken: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By agent, and by agent and caller."""

    def take(self, name: str, agent: Agent, caller: str | None, *, force: bool) -> bool:
        """Take a seat for a call; return whether it was taken.

        Call it before anything is awaited, so that a burst of calls can't get past a limit.

        Args:
            name: of the agent.
            agent: the agent, which has the limits.
            caller: None if unknown; then only the agent's own limit holds.
            force: take a seat even if none is free, for a call that an earlier owner accepted.
        """
        places = self._places(name, caller)
        limits = (agent.max_calls, agent.max_calls_per_caller)
        full = any(
            limit is not None and self.taken[place] >= limit for place, limit in zip(places, limits, strict=False)
        )
        if force or not full:
            self.taken.update(places)
        return force or not full

    def leave(self, name: str, caller: str | None) -> None:
        """Give a seat back."""
        for place in self._places(name, caller):
            self.taken[place] -= 1
            if self.taken[place] <= 0:
                del self.taken[place]  # or every caller there ever was would stay in memory

    def _places(self, name: str, caller: str | None) -> list[tuple[str, str]]:
        return [(name, ""), (name, caller)] if caller else [(name, "")]
