"""Deciding about a call that rings: which agent, whether there is room, and what the agent's rule says."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import structlog

from supervisor.agent import Agent
from supervisor.incoming import UNAVAILABLE, Accept, Incoming, Reject

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
    rule = agent.rule
    if rule is None:
        return Accept()
    try:
        async with asyncio.timeout(RULE_SECONDS):
            if inspect.iscoroutinefunction(rule):
                decision = await rule(incoming)
            else:
                decision = await asyncio.get_running_loop().run_in_executor(_threads, rule, incoming)
    except TimeoutError:
        log.error("incoming_rule_timed_out", timeout_seconds=RULE_SECONDS)
        return Reject(UNAVAILABLE)
    except Exception:  # users' code may raise anything; the caller must not be left ringing
        log.exception("incoming_rule_failed")
        return Reject(UNAVAILABLE)
    return decision or Accept()
