"""What can come of owning a call.

It has ended, or another supervisor shall go on with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EndReason(StrEnum):
    """Why a call ended; each record gets exactly one."""

    CALLER_HUNG_UP = "caller_hung_up"
    """OpenAI no longer knows the call, and nobody on our side had asked for that."""
    AGENT_HUNG_UP = "agent_hung_up"
    TRANSFERRED = "transferred"
    REJECTED = "rejected"
    """A rule, a limit on calls, or the lack of an agent for it refused the call."""
    MISSED = "missed"
    """The caller was gone before the call was accepted."""
    NOT_ACCEPTED = "not_accepted"
    """OpenAI refused the accept; its error is in the log."""
    NEVER_ATTACHED = "never_attached"
    """Accepted, but no sideband could be attached in time."""
    SESSION_EXPIRED = "session_expired"
    """OpenAI's limit of 60 minutes."""
    NO_CALLER = "no_caller"
    """The caller made no sound at all."""
    SILENCE = "silence"
    MAX_DURATION = "max_duration"
    MAX_COST = "max_cost"
    MAX_TOKENS = "max_tokens"
    MODEL_FAILED = "model_failed"
    """The model's responses failed again and again."""
    UNREACHABLE = "unreachable"
    """No supervisor could attach to it any more, so it was hung up."""
    FAILED = "failed"
    """Handling it failed again and again; the notice is among the dead letters, and `last_error` says more."""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is over."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class PassOn:
    """This supervisor can't go on with the call; another may."""

    cause: str


Outcome = CallEnded | PassOn
"""What came of a call that this process owned; it is returned, never raised."""
