"""What is kept of a call, for its next owner and for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic_core import to_json

from supervisor.outcomes import EndReason


@dataclass(slots=True)
class JournalEntry:
    """Hold one tool call, from request to confirmed output."""

    tool_call_id: str
    name: str
    arguments: str
    """JSON as the model wrote it."""
    idempotent: bool = False
    started_at: float | None = None
    finished_at: float | None = None
    outcome: str | None = None
    """The output for the model."""
    confirmed: bool = False
    """Whether OpenAI has shown that the output is in the conversation."""


@dataclass(slots=True)
class Segment:
    """Hold one thing that was said: an item of the transcript."""

    item_id: str
    role: Literal["caller", "agent"]
    text: str
    at: float
    order: int = 0
    """The place of its item in the conversation: transcriptions come late, and in any order."""


ENTRY = TypeAdapter(JournalEntry)
"""Turns a journal entry into JSON and back."""
SEGMENT = TypeAdapter(Segment)
"""The same for a segment of the transcript."""


@dataclass(slots=True, repr=False)
class CallRecord:
    """Hold what is known of one call. Times are Unix seconds.

    A store keeps the journal and the transcript apart from the rest, the head, so that a write costs what it changes.
    """

    call_id: str
    message_id: str
    """The Pub/Sub message that owns the call; a notice under another id is a duplicate."""
    epoch: int = 1
    """How often the record was opened by an owner; a write with an older epoch is refused."""
    transport: Literal["sip", "webrtc"] = "sip"
    delivery_attempt: int = 1
    heard_at: float | None = None
    """When the function received the webhook or the request of a browser."""
    claimed_at: float | None = None
    """When the present owner claimed the call."""
    accepted_at: float | None = None
    attached_at: float | None = None
    greeted_at: float | None = None
    handed_over_at: float | None = None
    """When the last owner handed the call over; None while it is held, and after a crash."""
    ended_at: float | None = None
    end_reason: EndReason | None = None
    busy: bool = False
    """Whether somebody was speaking, or a response was due, when the call was handed over."""
    failures: int = 0
    """How many owners in a row failed within a minute."""
    last_error: str | None = None
    expires_at: float | None = None
    """When OpenAI ends the session."""
    expiring_told: bool = False
    """Whether the agent's `on_expiring` handlers were called."""
    end_told: bool = False
    """Whether the agent's `on_end` handlers were called: written first, so that they are called once at most."""
    transcript_cut: bool = False
    """Whether the call ended while somebody spoke, or a response was due."""
    transcript_lost: int = 0
    """How many segments were dropped, since the store was down for too long."""
    agent: str | None = None
    """The name of the agent that answers, in its router."""
    caller: str | None = None
    dialled: str | None = None
    session: dict[str, Any] = field(default_factory=dict)
    """What this call changed of the agent's session."""
    items: int = 0
    """How many items the conversation has had."""
    tokens: int = 0
    cost_usd: float = 0.0
    state: dict[str, Any] = field(default_factory=dict)
    """The agent's own JSON."""
    journal: dict[str, JournalEntry] = field(default_factory=dict)
    """By tool call id, in the order in which they were asked."""
    transcript: list[Segment] = field(default_factory=list)
    """Whole where a store read it; empty at a call's owner, which hands segments to the store and keeps none."""

    def head(self) -> str:
        """Return all but the journal and the transcript, as JSON.

        Raises:
            ValueError: the agent has put something into its state that is not JSON; see `not_json`.
        """
        return _RECORD.dump_json(self, exclude={"journal", "transcript"}, warnings=False).decode()

    def may_be_opened_by(self, message_id: str) -> bool:
        """Tell whether an owner with this message may open the record.

        The message owns the call then, and the call has not ended.
        """
        return self.message_id == message_id and self.end_reason is None

    def not_json(self) -> frozenset[str]:
        """Name the keys of the agent's state that JSON can't hold."""
        return frozenset(key for key, value in self.state.items() if not _is_json({key: value}))

    def changed_by_json(self) -> frozenset[str]:
        """Name the keys of the agent's state that JSON changes."""
        return frozenset(key for key, value in self.state.copy().items() if _is_changed_by_json({key: value}))

    @classmethod
    def of_head(cls, head: str) -> CallRecord:
        """Make a record from its head, without journal and transcript.

        Raises:
            ValueError: it is not the head of a record, or one that a later version wrote.
        """
        return _RECORD.validate_python(json.loads(head))  # faster parsers limit depth, and the size of numbers

    def with_parts(self, journal: Iterable[str], transcript: Iterable[str] = ()) -> CallRecord:
        """Fill in the journal and the transcript from JSON.

        Returns the record itself.
        """
        entries = map(ENTRY.validate_json, journal)
        self.journal = {entry.tool_call_id: entry for entry in entries}
        self.transcript = [SEGMENT.validate_json(segment) for segment in transcript]
        return self


_RECORD = TypeAdapter(CallRecord)


def _is_json(value: object) -> bool:
    try:
        to_json(value)
    except ValueError:
        return False
    return True


def _is_changed_by_json(value: object) -> bool:
    try:
        return bool(json.loads(to_json(value)) != value)
    except ValueError:
        return False
