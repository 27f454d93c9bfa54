"""What the conversation asks of its owner: things to do, and things to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Event = Mapping[str, Any]
"""One event of the Realtime API, as decoded JSON; its fields are OpenAI's, and untrusted."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write a client event to the sideband."""

    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run a tool, and give its output to `ToolCalls.answer`."""

    tool_call_id: str
    name: str
    arguments: str
    """JSON as the model wrote it, unchecked."""


@dataclass(frozen=True, slots=True)
class Transcribed:
    """The caller or the model has said something."""

    item_id: str
    role: Literal["caller", "agent"]
    text: str
    order: int
    """Its item's place in the conversation, since transcriptions come late, and in any order."""


@dataclass(frozen=True, slots=True)
class TranscriptDelta:
    """What the model has said of an item so far.

    Reported only while `Conversation.watch_every` is set.
    """

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class DtmfReceived:
    """The caller has pressed a key of the telephone."""

    key: str


@dataclass(frozen=True, slots=True)
class Idle:
    """The caller was silent for as long as the session's `idle_timeout_ms`."""


@dataclass(frozen=True, slots=True)
class McpApprovalRequest:
    """The model wants to call a hosted MCP tool that needs approval.

    `Agent.approve` decides, and `Conversation.approved` answers.
    """

    request_id: str
    server_label: str
    """The server's, as the session names it."""
    name: str
    """The tool's."""
    arguments: str
    """JSON as the model wrote it, unchecked."""


@dataclass(frozen=True, slots=True)
class OutOfBandAnswer:
    """The answer to `Conversation.ask`."""

    key: str
    text: str | None
    """None if OpenAI refused the question."""


@dataclass(frozen=True, slots=True)
class ResponseFailed:
    """A response has failed."""

    code: str
    """OpenAI's error code."""
    again: bool
    """Whether to request a response again after a pause, by `ResponseQueue.add`."""


@dataclass(frozen=True, slots=True)
class PlaybackEnded:
    """The caller has heard a response, or the rest of it was thrown away."""

    response_id: str


@dataclass(frozen=True, slots=True)
class TranscriptionBilled:
    """OpenAI has billed a transcription."""

    usage: Mapping[str, Any]
    """The API's own object."""


@dataclass(frozen=True, slots=True)
class NotTranscribed:
    """What the caller said could not be transcribed."""

    item_id: str
    code: str


@dataclass(frozen=True, slots=True)
class Answered:
    """OpenAI has shown a tool call's output in the conversation."""

    tool_call_id: str


@dataclass(frozen=True, slots=True)
class ResponseBilled:
    """OpenAI has billed a response."""

    response_id: str
    usage: Mapping[str, Any]
    """The API's own object."""


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """The session has reached OpenAI's limit of 60 minutes; the socket will close."""


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
