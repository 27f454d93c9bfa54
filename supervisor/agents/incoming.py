"""Deciding about a call before it is taken: which agent answers, and whether it does."""

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
