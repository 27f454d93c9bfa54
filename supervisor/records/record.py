"""What is kept of a call, so that another process can go on with it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, Field


class EndReason(StrEnum):
    """Why a call ended; each record gets exactly one."""

    CALLER_HUNG_UP = "caller_hung_up"
    """The sideband closed and OpenAI no longer knows the call; nobody on our side had asked for that."""
    AGENT_HUNG_UP = "agent_hung_up"
    MISSED = "missed"
    """The caller was gone before the call was accepted."""
    NOT_ACCEPTED = "not_accepted"
    """OpenAI refused the accept; its error is in the log."""
    NEVER_ATTACHED = "never_attached"
    """Accepted, but no sideband could be attached in time."""
    SESSION_EXPIRED = "session_expired"
    """OpenAI's limit of 60 minutes."""


class Segment(BaseModel):
    """One thing that was said."""

    item_id: str
    role: Literal["caller", "agent"]
    text: str


class CallRecord(BaseModel):
    """One call. Times are Unix seconds."""

    call_id: str
    message_id: str
    """The Pub/Sub message that owns the call; a notice under another id is a duplicate."""
    epoch: int = 1
    """Raised by each claim; a write with an older epoch is refused."""
    accepted_at: float | None = None
    attached_at: float | None = None
    greeted_at: float | None = None
    ended_at: float | None = None
    end_reason: EndReason | None = None
    state: dict[str, Any] = Field(default_factory=dict)
    transcript: list[Segment] = Field(default_factory=list)
