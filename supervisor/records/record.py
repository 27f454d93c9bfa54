"""What is kept of a call, so that another process can go on with it, and people can read it afterwards."""

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
    """One tool call: what was asked, whether it started, what came of it, and whether OpenAI has the output."""

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
    """Whether OpenAI has shown the output in the conversation."""


@dataclass(slots=True)
class Segment:
    """One thing that was said."""

    item_id: str
    role: Literal["caller", "agent"]
    text: str
    at: float
    order: int = 0
    """Its item's place in the conversation: transcriptions come late, and in any order."""


ENTRY = TypeAdapter(JournalEntry)
"""A journal entry's way into JSON and back."""
SEGMENT = TypeAdapter(Segment)


@dataclass(slots=True, repr=False)
class CallRecord:
    """One call. Times are Unix seconds.

    A store keeps the journal and the transcript apart from the rest, the head, so that a change costs what it changes.
    """

    call_id: str
    message_id: str
    """The Pub/Sub message that owns the call; a notice under another id is a duplicate."""
    epoch: int = 1
    """Raised by each claim; a write with an older epoch is refused."""
    transport: Literal["sip", "webrtc"] = "sip"
    delivery_attempt: int = 1
    heard_at: float | None = None
    claimed_at: float | None = None
    """When the present owner claimed it."""
    accepted_at: float | None = None
    attached_at: float | None = None
    greeted_at: float | None = None
    handed_over_at: float | None = None
    """When the last owner gave it to the next; None while it is held, and after a crash."""
    ended_at: float | None = None
    end_reason: EndReason | None = None
    busy: bool = False
    """Whether a word or an answer was on its way when it was handed over."""
    failures: int = 0
    """Holds that failed, one after the other."""
    last_error: str | None = None
    expires_at: float | None = None
    """When OpenAI ends the session."""
    expiring_told: bool = False
    end_told: bool = False
    """Whether the agent's `on_end` handlers are called: written before, so that it happens once at most."""
    transcript_cut: bool = False
    """Whether the call ended in the middle of a word or an answer."""
    transcript_lost: int = 0
    """Pieces of the transcript that could not be kept, since the store was down for too long."""
    agent: str | None = None
    """The name of the agent that answers, in its router."""
    caller: str | None = None
    dialled: str | None = None
    session: dict[str, Any] = field(default_factory=dict)
    """What differs from the agent's session in this call."""
    items: int = 0
    """How many items the conversation has had."""
    tokens: int = 0
    cost_usd: float = 0.0
    state: dict[str, Any] = field(default_factory=dict)
    """The agent's own JSON."""
    journal: dict[str, JournalEntry] = field(default_factory=dict)
    """By tool call id, in the order in which they were asked."""
    transcript: list[Segment] = field(default_factory=list)
    """While a call is held, only what is new; a store reads it whole."""

    def head(self) -> str:
        """All but the journal and the transcript, as JSON.

        Raises:
            ValueError: the agent has put something into its state that JSON does not know; see `not_json`.
        """
        return _RECORD.dump_json(self, exclude={"journal", "transcript"}, warnings=False).decode()

    def not_json(self) -> frozenset[str]:
        """The keys of what in the agent's state is not JSON."""
        return frozenset(key for key, value in self.state.items() if not _is_json({key: value}))

    def changed_by_json(self) -> frozenset[str]:
        """The keys of what in the agent's state is JSON of a kind, and comes back from it as something else."""
        return frozenset(key for key, value in self.state.copy().items() if _is_changed_by_json({key: value}))

    @classmethod
    def of_head(cls, head: str) -> CallRecord:
        """A record without its journal and its transcript, from JSON."""
        return _RECORD.validate_python(json.loads(head))  # faster parsers have limits for depth, and for large numbers

    def with_parts(self, journal: Iterable[str], transcript: Iterable[str] = ()) -> CallRecord:
        """Fill in the journal and the transcript, from the JSON of their parts in order; gives the record itself."""
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
