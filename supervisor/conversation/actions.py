"""What the conversation core asks for: each action is one thing for its owner to do, or to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Event = Mapping[str, Any]
"""One event of the Realtime API, as decoded JSON; its fields are OpenAI's, and untrusted."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write this client event to the sideband."""

    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run a tool; its output comes back through `Conversation.tool_finished`."""

    tool_call_id: str
    name: str
    arguments: str
    """JSON as the model wrote it; unchecked."""


@dataclass(frozen=True, slots=True)
class Transcribed:
    """A piece of the transcript is complete."""

    item_id: str
    role: Literal["caller", "agent"]
    text: str
    order: int
    """Its item's place in the conversation: transcriptions are late, and come in any order."""


@dataclass(frozen=True, slots=True)
class TranscriptDelta:
    """What the model has said so far of an item; only while `Conversation.watch_every` is set."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class DtmfReceived:
    """The caller has pressed a key."""

    key: str


@dataclass(frozen=True, slots=True)
class Idle:
    """The caller was silent for as long as the session's `idle_timeout_ms`."""


@dataclass(frozen=True, slots=True)
class McpApprovalRequest:
    """A hosted MCP tool wants to be approved; the answer comes back through `Conversation.approved`."""

    request_id: str
    server_label: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class OutOfBandAnswer:
    """The answer to `Conversation.ask`; None if there was none."""

    key: str
    text: str | None


@dataclass(frozen=True, slots=True)
class ResponseFailed:
    """A response failed; `again` says whether to ask for it again after a pause, `Conversation.respond(**)`."""

    code: str
    again: bool


@dataclass(frozen=True, slots=True)
class PlaybackEnded:
    """The audio of a response has been played, or was thrown away."""

    response_id: str


@dataclass(frozen=True, slots=True)
class TranscriptionBilled:
    """A transcription was billed; `usage` is the API's own object."""

    usage: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotTranscribed:
    """What the caller said could not be transcribed."""

    item_id: str
    code: str


@dataclass(frozen=True, slots=True)
class Answered:
    """OpenAI has confirmed that a tool call's output is in the conversation."""

    tool_call_id: str


@dataclass(frozen=True, slots=True)
class ResponseBilled:
    """A response was billed; `usage` is the API's own object."""

    response_id: str
    usage: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """The session hit OpenAI's limit of 60 minutes; the socket will close."""


Command = Send | RunTool
"""What the owner of the call is to do."""

Report = (
    Transcribed
    | TranscriptDelta
    | DtmfReceived
    | Idle
    | McpApprovalRequest
    | OutOfBandAnswer
    | ResponseFailed
    | PlaybackEnded
    | Answered
    | ResponseBilled
    | TranscriptionBilled
    | NotTranscribed
    | SessionExpired
)
"""What the owner of the call is to know."""

Action = Command | Report
