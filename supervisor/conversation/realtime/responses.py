"""Who has the floor: of one conversation's responses, the one that is active, asked for, or wanted next.

One response at a time writes to the conversation, and voice activity detection begins responses too. So what is wanted
waits for `response.done`, and what was asked for may come back: where voice activity detection was faster, the error
`conversation_already_has_active_response` means "wait and ask again".

    wanted ──ask──► in flight ──response.created──► active ──response.done──► free
       ▲                │
       └────────────────┘ another was active, the sideband was lost, or nothing came of it

Two kinds are wanted, and none of the one stands in for the other. Instructed responses, such as words to be said, are
each asked for, in their order. That the model shall go on, since it has not spoken of a tool's output yet, is asked for
once, however often it is wanted; a response of voice detection that has seen the output will do as well.

It does no I/O, as `conversation`, which feeds it. Our client events are numbered here, so that errors can name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.conversation.actions import Action, Send

UNKNOWN_RESPONSE = "unknown"
"""Stands for a response that is active but that we never saw begin."""

MOST_UNANSWERED = 3
"""How often in a row a response is asked for of which nothing is heard."""
MOST_WANTED = 32
"""How many responses may wait; further words to be said are left out."""
_MARK = "sideband"  # in the metadata of our responses, which OpenAI echoes


@dataclass(eq=False, slots=True)
class _Queued:
    """A response that is wanted."""

    response: Mapping[str, Any]
    only_if_silent: bool = False
    """Whether it is needless when another response is active, and not asked for twice."""
    event_id: str = ""
    """The `response.create` that asked for it last."""
    lost_event_id: str = ""
    """One that was lost, with its sideband or without a trace; the response may have begun all the same."""

    @property
    def instructed(self) -> bool:
        """Whether it is to say something of its own, instead of going on with what there is."""
        return "instructions" in self.response


@dataclass(eq=False, slots=True, repr=False)
class ResponseQueue:
    """What is spoken now, and what is to be spoken next."""

    owner: int = 0
    """Which owner of the call this is: the next one must not take a late echo of the last one's ids for its own."""
    active: str | None = None
    """Id of the response that is being spoken, or `UNKNOWN_RESPONSE` when only its existence is known."""
    _wanted: tuple[_Queued, ...] = ()
    """What waits, in order; at most one of it is not instructed."""
    _in_flight: _Queued | None = None
    """What was asked for, and OpenAI has neither begun nor refused."""
    _begun_since: bool = False
    """Whether any response has begun since the last one was asked for."""
    _unanswered: int = 0
    _events: int = 0

    @property
    def taken(self) -> bool:
        """Whether a response is active, or on its way."""
        return self.active is not None or bool(self._wanted) or self._in_flight is not None

    @property
    def waiting_for(self) -> str | None:
        """The event id of the `response.create` that OpenAI has neither begun nor refused."""
        return self._in_flight.event_id if self._in_flight else None

    @property
    def full(self) -> bool:
        """Whether nothing more that is to be said can wait."""
        return len(self._wanted) >= MOST_WANTED

    def event(self, type_: str) -> dict[str, Any]:
        """A new client event, with an id by which an error can name it."""
        self._events += 1
        return {"type": type_, "event_id": f"sb_{self.owner}_{self._events}"}

    def respond(self, response: Mapping[str, Any] | None = None, *, only_if_silent: bool = False) -> list[Action]:
        """Want a response, and ask for it as soon as no other is active; see `Conversation.respond`."""
        wish = _Queued(response or {}, only_if_silent)
        if not wish.instructed:  # whatever became of an older wish to go on, there may be more to go on about now
            self._wanted = (*self._to_say, wish)
        elif not self.full:
            self._wanted = (*self._wanted, wish)
        return self.ask()

    def withdraw(self) -> None:
        """Nothing more is to be said; what is in flight may still come, and what there is to go on about stays."""
        self._wanted = tuple(wish for wish in self._wanted if not wish.instructed)
        if self._in_flight and self._in_flight.instructed:
            self._in_flight.only_if_silent = True

    def ask(self) -> list[Action]:
        """Ask for what is wanted first, if nothing else is active or asked for."""
        if not self._wanted or self._in_flight is not None or self.active is not None:
            return []
        wish, *rest = self._wanted
        self._wanted, self._in_flight, self._begun_since = tuple(rest), wish, False
        event = self.event("response.create")
        wish.event_id = event["event_id"]
        event["response"] = {**wish.response, "metadata": {_MARK: wish.event_id}}
        return [Send(event)]

    # What becomes of it.

    def begun(self, response_id: str, metadata: Mapping[str, Any], *, has_seen_all: bool) -> None:
        """A response is active: what we asked for, if its metadata bears our mark; else one of voice detection.

        Args:
            response_id: its id.
            metadata: its own.
            has_seen_all: whether every output was in the conversation before.
        """
        self.active = response_id
        self._begun_since = True
        wish = self._in_flight
        if wish and metadata.get(_MARK) in (wish.event_id, wish.lost_event_id):
            self._in_flight = None
            self._unanswered = 0
        elif has_seen_all and not (wish and wish.instructed):  # else it may be ours, its mark not echoed
            self._wanted = self._to_say
            if wish:
                wish.only_if_silent = True

    def ended(self, metadata: Mapping[str, Any]) -> None:
        """No response is active."""
        self.active = None
        if self._wanted and self._wanted[0].lost_event_id and self._wanted[0].lost_event_id == metadata.get(_MARK):
            self._wanted = self._wanted[1:]

    def another_is_active(self) -> None:
        """What was asked for is refused, since voice activity detection was faster: want it again, if it is needed."""
        self.active = self.active or UNKNOWN_RESPONSE
        self._want_again()

    def refused(self, event_id: str) -> list[Action]:
        """An error names this event of ours: if it asked for a response, that never comes, and the next may."""
        if self.waiting_for != event_id:
            return []
        self._in_flight = None
        return self.ask()

    def unanswered(self) -> list[Action]:
        """Nothing came of what was asked for: ask again, a few times, unless another has begun since, which will do."""
        self._unanswered += 1
        if self._begun_since or self._unanswered >= MOST_UNANSWERED:
            self._in_flight = None
        self._lose()
        return self.ask()

    def attached(self) -> None:
        """A new sideband is there: what was active is unknown, and what was in flight is wanted again."""
        self.active = None
        self._lose()

    @property
    def _to_say(self) -> tuple[_Queued, ...]:
        """What is wanted and instructed."""
        return tuple(wish for wish in self._wanted if wish.instructed)

    def _lose(self) -> None:
        """Want again what was in flight; it may have arrived, and be spoken now."""
        if self._in_flight:
            self._in_flight.lost_event_id = self._in_flight.event_id
        self._want_again()

    def _want_again(self) -> None:
        """What was in flight goes back to the front, unless it is needless."""
        wish, self._in_flight = self._in_flight, None
        if wish and not wish.only_if_silent and (wish.instructed or self._wanted == self._to_say):
            self._wanted = (wish, *self._wanted)
