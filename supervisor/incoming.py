"""Deciding about a call before it is taken: which agent answers, and whether it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from function.notice import CallNotice
from supervisor import sip
from supervisor.errors import StartupError
from supervisor.usercode import takes

if TYPE_CHECKING:
    from supervisor.agent import Agent

BUSY = 486
REFUSALS = range(300, 700)  # of SIP's status codes (RFC 3261, 21)
UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Incoming:
    """A call that rings. What it says of itself is untrusted, except for `context`."""

    notice: CallNotice

    @property
    def call_id(self) -> str:
        """OpenAI's id of the call."""
        return self.notice.call_id

    @property
    def transport(self) -> str:
        """`sip` or `webrtc`."""
        return self.notice.transport

    @property
    def caller(self) -> sip.Address | None:
        """Who calls."""
        return sip.caller(self.notice.sip_headers)

    @property
    def dialled(self) -> sip.Address | None:
        """Who was called, before any diversion."""
        return sip.dialled(self.notice.sip_headers)

    @property
    def context(self) -> Mapping[str, Any]:
        """Claims that the application's own backend vouched for."""
        return self.notice.context

    def header(self, name: str) -> str | None:
        """The first SIP header of this name, in any case."""
        return next((value for key, value in self.notice.sip_headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Accept:
    """Take the call.

    Attributes:
        session: what differs from the agent's session in this call; merged into it, one level deep.
        state: what the call's state starts with.
    """

    session: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the call with a SIP status code, such as 486 (busy), 603 (decline) or 404 (nobody of that name).

    Raises:
        ValueError: it is not one that refuses, 300 to 699.
    """

    status_code: int = 603

    def __post_init__(self) -> None:
        if not isinstance(self.status_code, int) or self.status_code not in REFUSALS:
            raise ValueError(f"Reject({self.status_code!r}): a SIP status code from 300 to 699, such as 486")


Decision = Accept | Reject | None
Rule = Callable[[Incoming], Decision | Awaitable[Decision]]
Chooser = Callable[[Incoming], "str | Awaitable[str | None] | None"]
C = TypeVar("C", bound=Chooser)


class Router:
    """Several agents behind one supervisor, and the rules that choose one for a call.

    Rules are tried in this order: `choose` functions, context claims, headers, dialled numbers; then `default`.

    Args:
        agents: by the names that rules and records call them.
        default: the name of the one that answers when no rule fits; None rejects the call with 404.

    Examples:
        >>> from supervisor import Agent
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
