"""Deciding about a call that rings: which agent, whether there is room, and what the agent's rule says."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import structlog

from supervisor import usercode
from supervisor.agent import Agent
from supervisor.incoming import UNAVAILABLE, Accept, Incoming, Reject, Router

log = structlog.get_logger()

RULE_SECONDS = 2.0
_threads = ThreadPoolExecutor(16, thread_name_prefix="incoming rule")  # so that hanging tools turn no callers away


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


async def decide(agent: Agent, incoming: Incoming) -> Accept | Reject:
    """Ask the agent's rule. One that fails or is slow rejects, rather than letting it ring."""
    if agent.rule is None:
        return Accept()
    try:
        decision = await usercode.run(partial(agent.rule, incoming), within_seconds=RULE_SECONDS, threads=_threads)
    except usercode.TookTooLongError:
        log.error("incoming_rule_timed_out", timeout_seconds=RULE_SECONDS)
        return Reject(UNAVAILABLE)
    except usercode.UserCodeError as failed:
        log.error("incoming_rule_failed", error=str(failed), exc_info=failed.__cause__)
        return Reject(UNAVAILABLE)
    if decision is None:
        return Accept()
    if not isinstance(decision, Accept | Reject):
        returned = type(decision).__name__  # what it is may be personal
        log.error("incoming_rule_failed", error=f"it returned a {returned}: return Accept(), Reject() or None")
        return Reject(UNAVAILABLE)
    return decision


async def choose(router: Router, incoming: Incoming) -> str | None:
    """The name of the agent that answers; None if nobody does. A chooser that fails leaves it to the other rules."""
    for chooser in router.choosers:
        try:
            name = await usercode.run(partial(chooser, incoming), within_seconds=RULE_SECONDS, threads=_threads)
        except (usercode.TookTooLongError, usercode.UserCodeError) as failed:
            log.error("chooser_failed", error=str(failed), exc_info=failed.__cause__, action="the other rules choose")
            continue
        if isinstance(name, str) and name in router.agents:
            return name
        if name:
            error = f"it returned a {type(name).__name__} that names no agent; there are {', '.join(router.agents)}"
            log.error("chooser_failed", error=error, action="the other rules choose")
    return router.name_for(incoming)
