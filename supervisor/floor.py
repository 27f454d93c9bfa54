"""Who has the floor: of one conversation's responses, the one that is active, asked for, or wanted next.

One response at a time writes to the conversation, and voice activity detection begins responses too. So what is wanted
waits for `response.done`, and what was asked for may come back: where voice activity detection was faster, the error
`conversation_already_has_active_response` means "wait and ask again".

    wanted ──ask──► in flight ──response.created──► active ──response.done──► free
       ▲                │
       └────────────────┘ another was active, the sideband was lost, or nothing came of it

It does no I/O, as `conversation`, which feeds it. Our client events are numbered here, so that errors can name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.actions import Action, Send

UNKNOWN_RESPONSE = "unknown"
"""Stands for a response that is active but that we never saw begin."""

MOST_UNANSWERED = 3
"""How often in a row a response is asked for of which nothing is heard."""
_MARK = "sideband"  # in the metadata of our responses, which OpenAI echoes


@dataclass(eq=False, slots=True, repr=False)
class Floor:
    """What is spoken now, and what is to be spoken next."""

    active: str | None = None
    """Id of the response that is being spoken, or `UNKNOWN_RESPONSE` when only its existence is known."""
    _wanted: dict[str, Any] | None = None
    """The pending `response.create`; at most one waits."""
    _in_flight: dict[str, Any] | None = None
    """The `response.create` event that OpenAI has neither begun nor refused."""
    _only_if_silent: bool = False
    """Whether what is wanted or in flight is needless when another response is active."""
    _begun_since: bool = False
    """Whether any response has begun since the last one was asked for."""
    _unanswered: int = 0
    _events: int = 0

    @property
    def taken(self) -> bool:
        """Whether a response is active, or on its way."""
        return self.active is not None or self._wanted is not None or self._in_flight is not None

    @property
    def waiting_for(self) -> str | None:
        """The event id of the `response.create` that OpenAI has neither begun nor refused."""
        return self._in_flight["event_id"] if self._in_flight else None

    def event(self, type_: str) -> dict[str, Any]:
        """A new client event, with an id by which an error can name it."""
        self._events += 1
        return {"type": type_, "event_id": f"sb_{self._events}"}

    def respond(self, response: Mapping[str, Any] | None = None, *, only_if_silent: bool = False) -> list[Action]:
        """Want a response, and ask for it as soon as no other is active; see `Conversation.respond`."""
        if response or self._wanted is None:
            self._wanted = dict(response or {})
        self._only_if_silent = only_if_silent
        return self.ask()

    def withdraw(self) -> None:
        """Nothing is wanted any more; what is in flight may still come."""
        self._wanted = None

    def ask(self) -> list[Action]:
        """Ask for what is wanted, if nothing else is active or asked for."""
        if self._wanted is None or self._in_flight is not None or self.active is not None:
            return []
        event = self.event("response.create")
        event["response"] = {**self._wanted, "metadata": {**self._wanted.get("metadata", {}), _MARK: event["event_id"]}}
        self._wanted, self._in_flight, self._begun_since = None, event, False
        return [Send(event)]

    # What becomes of it.

    def begun(self, response_id: str, metadata: Mapping[str, Any]) -> None:
        """A response is active: what we asked for, if its metadata bears our mark."""
        self.active = response_id
        self._begun_since = True
        if self._is_in_flight(metadata.get(_MARK)):
            self._in_flight = None
            self._unanswered = 0

    def ended(self) -> None:
        """No response is active."""
        self.active = None

    def another_is_active(self) -> None:
        """What was asked for is refused, since voice activity detection was faster: want it again, if it is needed."""
        self.active = self.active or UNKNOWN_RESPONSE
        if self._in_flight is not None and not self._only_if_silent:
            self._wanted = self._wanted or self._in_flight.get("response", {})
        self._in_flight = None

    def refused(self, event_id: str) -> list[Action]:
        """An error names this event of ours: if it asked for a response, that never comes, and the next may."""
        if not self._is_in_flight(event_id):
            return []
        self._in_flight = None
        return self.ask()

    def unanswered(self) -> list[Action]:
        """Nothing came of what was asked for: ask again, a few times, unless another has begun since, which will do."""
        lost, self._in_flight = self._in_flight, None
        self._unanswered += 1
        if lost and not self._begun_since and self._unanswered < MOST_UNANSWERED and self._wanted is None:
            self._wanted, self._only_if_silent = lost.get("response", {}), True
        return self.ask()

    def attached(self) -> None:
        """A new sideband is there: what was active is unknown, and what was in flight is wanted again."""
        self.active = None
        if self._in_flight is not None:
            self._wanted, self._in_flight = self._in_flight.get("response", {}), None
            self._only_if_silent = True  # it may have arrived, and be spoken now

    def _is_in_flight(self, event_id: str | None) -> bool:
        return self._in_flight is not None and self._in_flight["event_id"] == event_id
