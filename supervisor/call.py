"""The call as an agent's code sees it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from function.notice import CallNotice

running_tool_call: ContextVar[str] = ContextVar("running_tool_call")
"""The id of the tool call that runs in this task."""


class Line(Protocol):
    """What a call can be made to do; its holder does it."""

    async def hang_up(self) -> None:
        """End the call."""


@dataclass(eq=False, slots=True)
class Call:
    """One call, for tools and rules.

    Attributes:
        notice: how we heard of it; everything in it but `context` is untrusted.
        state: the agent's own JSON; it survives crashes and deploys. Change it in tools and handlers as you like.
    """

    notice: CallNotice
    _line: Line = field(repr=False)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def call_id(self) -> str:
        """OpenAI's id of the call."""
        return self.notice.call_id

    @property
    def context(self) -> dict[str, Any]:
        """Claims that the application's own backend vouched for; tools may trust these, and nothing that was said."""
        return self.notice.context

    @property
    def idempotency_key(self) -> str:
        """A key for what the running tool does in the world: the same when it is run again after a crash.

        Raises:
            LookupError: no tool is running here.
        """
        return f"{self.call_id}:{running_tool_call.get()}"

    def header(self, name: str) -> str | None:
        """The first SIP header of this name, in any case; untrusted."""
        return next((value for key, value in self.notice.sip_headers if key.lower() == name.lower()), None)

    async def hang_up(self) -> None:
        """End the call. Terminal, and harmless when repeated."""
        await self._line.hang_up()
