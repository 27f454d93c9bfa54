"""A call that rings, and the decisions about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from function.notice import CallNotice
from supervisor.agents import sip

BUSY = 486
REFUSALS = range(300, 700)  # of SIP's status codes (RFC 3261, 21)
UNAVAILABLE = 503


@dataclass(frozen=True, slots=True)
class Incoming:
    """A call that rings, as `Agent.incoming` and `Router.choose` get it.

    Anybody can write anything into the headers of a SIP call, unless your trunk checks them; only `context` is trusted.

    Attributes:
        notice: how we heard of the call.
    """

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
        """Who calls: what the trunk asserts, or else the caller.

        None if withheld, and for browsers.
        """
        return sip.caller(self.notice.sip_headers)

    @property
    def dialled(self) -> sip.Address | None:
        """Who was called first, before any diversion.

        None for browsers.
        """
        return sip.dialled(self.notice.sip_headers)

    @property
    def context(self) -> Mapping[str, Any]:
        """The claims that your own backend vouched for.

        For example `{"sub": "customer-7"}`; empty if there is no such backend.
        """
        return self.notice.context

    def header(self, name: str) -> str | None:
        """Return the first SIP header of this name; untrusted.

        Upper and lower case are the same. None if there is none.
        """
        return next((value for key, value in self.notice.sip_headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Accept:
    """Take the call; what `Agent.incoming` may return.

    Attributes:
        session: what differs from the agent's session in this call; it is merged into it, at any depth.
        state: what `Call.state` begins with.

    Examples:
        >>> Accept(session={"audio": {"output": {"voice": "cedar"}}}, state={"language": "nl"}).state
        {'language': 'nl'}
    """

    session: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the call; what `Agent.incoming` may return.

    A browser's call is hung up.

    Attributes:
        status_code: SIP's, such as 486 (busy), 603 (decline) or 404 (nobody of that name). After 486 and 603 carriers
            end the call; after 503 they try their next route.

    Raises:
        ValueError: the code is not one that refuses, 300 to 699.

    Examples:
        >>> Reject(486)
        Reject(status_code=486)
    """

    status_code: int = 603

    def __post_init__(self) -> None:
        if not isinstance(self.status_code, int) or self.status_code not in REFUSALS:
            raise ValueError(f"Reject({self.status_code!r}): a SIP status code from 300 to 699, such as 486")


Decision = Accept | Reject | None
Rule = Callable[[Incoming], Decision | Awaitable[Decision]]
