"""How many calls an agent and a caller may have at once in this process."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from supervisor.agents.agent import Agent


@dataclass(slots=True)
class Seats:
    """The calls that this process has or is about to have, by agent and by caller, pending ones included."""

    taken: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, name: str, agent: Agent, caller: str | None, *, force: bool) -> bool:
        """Take a seat for a call before anything is awaited, so that a burst can't get past a limit.

        With `force` it is taken even if there is none: the call was accepted elsewhere, and is not turned away now.
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
                del self.taken[place]  # or every caller there ever was would be remembered

    def _places(self, name: str, caller: str | None) -> list[tuple[str, str]]:
        return [(name, ""), (name, caller)] if caller else [(name, "")]
