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
    """Chooses one of several agents for each call.

    Rules are tried in this order: functions of `choose`, then `context`, `header` and `dialled`, then the default. The
    first that names an agent decides.

    Args:
        agents: by the names that rules and records have for them.
        default: the name of the agent that answers when no rule names one; None rejects the call with 404.

    Raises:
        StartupError: there is no agent, or the default is none of them. So do rules that name an unknown agent.

    Examples:
        >>> from sideband import Agent, Router
        >>> session = {"model": "gpt-realtime-2.1"}
        >>> router = Router({"shop": Agent(session=session), "workshop": Agent(session=session)}, default="shop")
        >>> router.dialled("+31201234567", "workshop")
        >>> router.header("X-Department", "repairs", "workshop")
        >>> router.context("department", "repairs", "workshop")
        >>> @router.choose
        ... def sip_only(incoming: Incoming) -> str | None:
        ...     return "shop" if incoming.transport == "webrtc" else None
    """

    def __init__(self, agents: Mapping[str, Agent], *, default: str | None = None) -> None:
        if not agents:
            raise StartupError("a Router needs at least one agent: Router({'name': agent})")
        self.agents = dict(agents)
        self.default = default
        self.choosers: list[Chooser] = []
        self._by_claim: dict[tuple[str, str], str] = {}
        self._by_header: dict[tuple[str, str], str] = {}
        self._by_number: dict[str, str] = {}
        if default is not None:
            self._known(default)

    def dialled(self, number: str, agent: str) -> None:
        """Have an agent answer calls to a number.

        Write it as your trunk does, which is mostly E.164, such as +31201234567.
        """
        self._by_number[number] = self._known(agent)

    def header(self, name: str, value: str, agent: str) -> None:
        """Have an agent answer calls with this SIP header.

        Callers can set headers, so this authorises nobody.
        """
        self._by_header[name.lower(), value] = self._known(agent)

    def context(self, claim: str, value: str, agent: str) -> None:
        """Have an agent answer calls with this claim.

        The value of the claim in `Incoming.context` is compared as text.
        """
        self._by_claim[claim, value] = self._known(agent)

    def choose(self, chooser: C) -> C:
        """Have a function name the agent of each call.

        It gets the `Incoming` call, and may be async or plain. One that raises, takes longer than 2 s or names no agent
        leaves the call to the next rule too.
        """
        self.choosers.append(takes(chooser, "incoming"))
        return chooser

    def name_for(self, incoming: Incoming) -> str | None:
        """Return the agent's name by all rules but `choose`.

        None if nobody answers.
        """
        for (claim, value), name in self._by_claim.items():
            if str(incoming.context.get(claim)) == value:
                return name
        for (header, value), name in self._by_header.items():
            if incoming.header(header) == value:
                return name
        number = incoming.dialled.number if incoming.dialled else None
        return self._by_number.get(number or "", self.default)

    def _known(self, name: str) -> str:
        if name not in self.agents:
            raise StartupError(f"the router has no agent named {name!r}; it has {', '.join(self.agents)}")
        return name


def load(path: str) -> Router:
    """Import the router that a `module:attribute` path names.

    An agent becomes a router with one agent.

    Raises:
        StartupError: there is no such module or attribute, its code failed, it is neither, or an agent has input guards
            and no transcription that they could read.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise StartupError(f"SIDEBAND_AGENT={path}: write it as module:attribute, such as shop:agent")
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
    except (Exception, SystemExit) as error:  # user's code may fail in any way; one line says how
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
    """Make a router of an agent, which it calls `agent`.

    A router is returned unchanged.
    """
    return Router({"agent": agent}, default="agent") if isinstance(agent, Agent) else agent


def _last_line(error: BaseException) -> str:
    """Say where and how code failed, in one line."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}: {type(error).__name__}: {' '.join(str(error).split())}"
