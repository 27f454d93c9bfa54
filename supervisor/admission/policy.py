"""Decide which agent answers a call, and whether it is taken."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from supervisor.agents.agent import Agent
from supervisor.agents.incoming import UNAVAILABLE, Accept, Incoming, Reject
from supervisor.agents.router import Router
from supervisor.agents.user_code import Failure, contained

log = structlog.get_logger()

RULE_SECONDS = 2.0
_threads = ThreadPoolExecutor(
    16, thread_name_prefix="incoming rule"
)  # their own, or hanging tools would turn callers away


async def decide(agent: Agent, incoming: Incoming) -> Accept | Reject:
    """Ask the agent's rule whether to take a call.

    A rule that fails or is slow rejects the call, instead of letting it ring.
    """
    if agent.handlers.incoming is None:
        return Accept()
    decision = await contained(
        partial(agent.handlers.incoming, incoming),
        within_seconds=RULE_SECONDS,
        threads=_threads,
        failed="incoming_rule_failed",
        timed_out="incoming_rule_timed_out",
        level="error",
    )
    if isinstance(decision, Failure):
        return Reject(UNAVAILABLE)
    if decision is None:
        return Accept()
    if not isinstance(decision, Accept | Reject):
        returned = type(decision).__name__  # what it is may be personal
        log.error("incoming_rule_failed", error=f"it returned a {returned}: return Accept(), Reject() or None")
        return Reject(UNAVAILABLE)
    return decision


async def choose(router: Router, incoming: Incoming) -> str | None:
    """Return the name of the agent that answers, if one does.

    A chooser that fails leaves it to the router's other rules.
    """
    for chooser in router.choosers:
        name = await contained(
            partial(chooser, incoming),
            within_seconds=RULE_SECONDS,
            threads=_threads,
            failed="chooser_failed",
            timed_out="chooser_failed",
            level="error",
            action="the other rules choose",
        )
        if isinstance(name, Failure):
            continue
        if isinstance(name, str) and name in router.agents:
            return name
        if name:
            error = f"it returned a {type(name).__name__} that names no agent; there are {', '.join(router.agents)}"
            log.error("chooser_failed", error=error, action="the other rules choose")
    return router.name_for(incoming)
