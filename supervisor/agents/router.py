"""Which agents a supervisor has, and which of them answers a call."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from supervisor.agents import session as sessions
from supervisor.agents.agent import Agent
from supervisor.agents.incoming import Incoming
from supervisor.agents.user_code import takes
from supervisor.errors import StartupError

Chooser = Callable[[Incoming], "str | Awaitable[str | None] | None"]
C = TypeVar("C", bound=Chooser)


class Router:
    """Several agents behind one supervisor, and the rules that choose one for a call.

    Rules are tried in this order: `choose` functions, context claims, headers, dialled numbers; then `default`.

    Args:
        agents: by the names that rules and records call them.
        default: the name of the one that answers when no rule fits; None rejects the call with 404.

    Examples:
        >>> from sideband import Agent, Router
        >>> session = {"model": "gpt-realtime-2.1"}
        >>> router = Router({"shop": Agent(session=session), "night": Agent(session=session)}, default="shop")
        >>> router.dialled("+31201234567", "night")
    """

    def __init__(self, agents: Mapping[str, Agent], *, default: str | None = None) -> None:
        if not agents:
            raise StartupError("a Router needs at least one agent: Router({'name': agent})")
        self.agents = dict(agents)
        self.default = default
        self.choosers: list[Chooser] = []
        self._tables: dict[str, dict[tuple[str, str], str]] = {"context": {}, "header": {}, "dialled": {}}
        if default is not None:
            self._known(default)

    def dialled(self, number: str, agent: str) -> None:
        """Give calls to this number to an agent."""
        self._tables["dialled"]["number", number] = self._known(agent)

    def header(self, name: str, value: str, agent: str) -> None:
        """Give calls whose SIP header has this value to an agent. Callers can set headers: this is no authorisation."""
        self._tables["header"][name.lower(), value] = self._known(agent)

    def context(self, claim: str, value: str, agent: str) -> None:
        """Give calls whose context claim has this value to an agent."""
        self._tables["context"][claim, value] = self._known(agent)

    def choose(self, chooser: C) -> C:
        """Have a function, async or plain, name the agent of a call, or return None to leave it to the next rule.

        One that fails, or takes longer than 2 s, leaves it to the next rule too.
        """
        self.choosers.append(takes(chooser, "incoming"))
        return chooser

    def name_for(self, incoming: Incoming) -> str | None:
        """The name of the agent that the tables give this call; None if nobody answers."""
        number = incoming.dialled.number if incoming.dialled else None
        for (claim, value), name in self._tables["context"].items():
            if str(incoming.context.get(claim)) == value:
                return name
        for (header, value), name in self._tables["header"].items():
            if incoming.header(header) == value:
                return name
        return self._tables["dialled"].get(("number", number or ""), self.default)

    def _known(self, name: str) -> str:
        if name not in self.agents:
            raise StartupError(f"the router has no agent named {name!r}; it has {', '.join(self.agents)}")
        return name


def load(path: str) -> Router:
    """Import the agent or router that a `module:attribute` path names; an agent alone becomes a router with one.

    Raises:
        StartupError: there is no such module or attribute, its code failed, it is neither, or a guard would be deaf.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise StartupError(f"SIDEBAND_AGENT={path}: write it as module:attribute, such as examples.bikes:agent")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except StartupError as error:
        raise StartupError(f"SIDEBAND_AGENT={path}: {error}") from None
    except ModuleNotFoundError as error:
        ours = f"{module_name}.".startswith(f"{error.name}.")
        advice = "run from the folder that holds it" if ours else f"{module_name} imports it: install it"
        raise StartupError(f"SIDEBAND_AGENT={path}: no module named {error.name!r}; {advice}") from None
    except (Exception, SystemExit) as error:  # user's code may fail in any way; it is told in one line
        raise StartupError(f"SIDEBAND_AGENT={path}: {_last_line(error)}") from error
    found = getattr(module, attribute, None)
    if not isinstance(found, Agent | Router):
        kind = "nothing" if found is None else f"a {type(found).__name__}"
        raise StartupError(f"SIDEBAND_AGENT={path}: {attribute!r} is {kind}, not an Agent or a Router")
    router = as_router(found)
    for name, agent in router.agents.items():
        if agent.guard.inputs and not sessions.transcribes(agent.session):
            raise StartupError(
                f"SIDEBAND_AGENT={path}: {name!r} has a guard.input, and nothing is transcribed that it could read;"
                " set session.audio.input.transcription.model"
            )
    return router


def as_router(agent: Agent | Router) -> Router:
    """Return a router unchanged, or one with a single agent, which it calls `agent`."""
    return Router({"agent": agent}, default="agent") if isinstance(agent, Agent) else agent


def _last_line(error: BaseException) -> str:
    """Where and how code failed, in one line."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}: {type(error).__name__}: {' '.join(str(error).split())}"
