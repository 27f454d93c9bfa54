"""A session's configuration: checked, at its start, and updated.

Field names and defaults are those of openai-realtime.md#session. An update is merged whole or refused whole.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from emulator.openai.errors import ApiError

Session = dict[str, Any]
"""A session as the API shows it."""

_Checked = TypeVar("_Checked", bound=BaseModel)
_SIP_VAD_NUMBERS = ("threshold", "prefix_padding_ms", "silence_duration_ms")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _ServerVad(_Strict):
    type: Literal["server_vad"]
    threshold: float = Field(0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(300, ge=0)
    silence_duration_ms: int = Field(200, ge=0)  # as recorded; the documents say 500
    idle_timeout_ms: int | None = Field(None, ge=5000, le=30_000)
    create_response: bool = True
    interrupt_response: bool = True


class _SemanticVad(_Strict):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


_TurnDetection = Annotated[_ServerVad | _SemanticVad, Field(discriminator="type")]


class _Format(_Strict):
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: int | None = None


class _NoiseReduction(_Strict):
    type: Literal["near_field", "far_field"]
    strength: float | None = None


class _Transcription(_Strict):
    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    keywords: list[str] | None = None
    languages: list[str] | None = None
    delay: str | None = None


class _Input(_Strict):
    format: _Format | None = None
    noise_reduction: _NoiseReduction | None = None
    transcription: _Transcription | None = None
    turn_detection: _TurnDetection | None = None


class _Output(_Strict):
    format: _Format | None = None
    voice: str | dict[str, str] | None = None
    speed: float = Field(1.0, ge=0.25, le=1.5)


class _Audio(_Strict):
    input: _Input = _Input()
    output: _Output = _Output()


class _Function(_Strict):
    type: Literal["function"]
    name: str = Field(min_length=1, max_length=64, pattern="^[a-zA-Z0-9_-]+$")
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _McpServer(BaseModel):
    """Only what the stand-in looks at; the rest passes."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: Literal["mcp"]
    server_label: str = Field(min_length=1)


class _Reasoning(_Strict):
    effort: Literal["minimal", "low", "medium", "high", "xhigh"]


_MaxOutputTokens = Annotated[int, Field(ge=1, le=4096)] | Literal["inf"]


class _Config(_Strict):
    type: Literal["realtime"]
    model: str = ""
    instructions: str = ""
    output_modalities: list[Literal["audio", "text"]] = Field(["audio"], min_length=1, max_length=1)
    audio: _Audio = _Audio()
    tools: list[Annotated[_Function | _McpServer, Field(discriminator="type")]] = []
    tool_choice: Literal["auto", "none", "required"] | dict[str, Any] = "auto"
    parallel_tool_calls: bool | None = None
    reasoning: _Reasoning | None = None
    max_output_tokens: _MaxOutputTokens = "inf"
    truncation: Literal["auto", "disabled"] | dict[str, Any] = "auto"
    tracing: Literal["auto"] | dict[str, Any] | None = None
    include: list[Literal["item.input_audio_transcription.logprobs"]] | None = None
    prompt: dict[str, Any] | None = None


class _ResponseAudio(_Strict):
    output: _Output = _Output()


class ResponseRequest(_Strict):
    """What `response.create` may carry under `response` (openai-realtime.md#response-options)."""

    conversation: Literal["auto", "none"] = "auto"
    input: list[dict[str, Any]] | None = None
    instructions: str | None = None
    output_modalities: list[Literal["audio", "text"]] | None = Field(None, min_length=1, max_length=1)
    audio: _ResponseAudio | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: _Reasoning | None = None
    max_output_tokens: _MaxOutputTokens | None = None
    metadata: dict[str, str] | None = None
    prompt: dict[str, Any] | None = None


_config: TypeAdapter[_Config] = TypeAdapter(_Config)
_request: TypeAdapter[ResponseRequest] = TypeAdapter(ResponseRequest)

_START: Session = {
    "type": "realtime",
    "object": "realtime.session",
    "model": "gpt-realtime-2.1",
    "output_modalities": ["audio"],
    "instructions": "You are a helpful, witty, and friendly voice assistant.",
    "tools": [],
    "tool_choice": "auto",
    "max_output_tokens": "inf",
    "tracing": None,
    "truncation": "auto",
    "prompt": None,
    "include": None,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": _ServerVad(type="server_vad").model_dump(),
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
    },
}


def check_session(config: object, *, sip_accept: bool = False) -> Session:
    """Check a client's session; returns it with turn detection filled in.

    Args:
        config: What stands under `session`, or an accept's body.
        sip_accept: Refuse the numbers of turn detection that a SIP accept must not have
            (openai-realtime.md#sip-accept).

    Raises:
        ApiError: something is missing, unknown or of a wrong type; nothing of it counts.
    """
    valid = _validated(_config, config, "session")
    given = valid.model_dump(exclude_unset=True)
    detection = valid.audio.input.turn_detection
    if detection is not None:
        if sip_accept and detection.model_fields_set.intersection(_SIP_VAD_NUMBERS):
            raise ApiError(
                "Turn detection thresholds and durations cannot be set when accepting a SIP call.",
                code="invalid_value",
                param="session.audio.input.turn_detection",
            )
        given["audio"]["input"]["turn_detection"] = detection.model_dump()
    return given


def check_response(request: object) -> ResponseRequest:
    """Check what a client asks of a response.

    Raises:
        ApiError: something in it is unknown or of a wrong type.
    """
    return _validated(_request, request, "response")


def start_session(session_id: str, expires_at: int, config: Session) -> Session:
    """Make a call's first session: OpenAI's defaults, and what was asked for."""
    session = merged(_START, config)
    return {**session, "id": session_id, "expires_at": expires_at}


def update_session(session: Session, config: object, *, has_spoken: bool) -> Session:
    """Apply a `session.update`; returns the new session.

    Raises:
        ApiError: the update is refused, whole.
    """
    change = check_session(config)
    if change.get("model", session["model"]) != session["model"]:
        raise ApiError("Cannot update a realtime session's model.", code="invalid_value", param="session.model")
    voice = change.get("audio", {}).get("output", {}).get("voice")
    if has_spoken and voice not in (None, session["audio"]["output"]["voice"]):
        raise ApiError(
            "Cannot update a conversation's voice if assistant audio is present.",
            code="cannot_update_voice",
            param="session.audio.output.voice",
        )
    if session["tracing"] is not None and change.get("tracing", session["tracing"]) != session["tracing"]:
        raise ApiError("Tracing cannot be changed once it is on.", code="invalid_value", param="session.tracing")
    return merged(session, change)


def merged(session: Session, change: Session) -> Session:
    """Replace the fields that a change names; inside `audio`, field by field."""
    result = {**session, **change}
    if "audio" in change:
        result["audio"] = {
            side: {**session["audio"][side], **change["audio"].get(side, {})} for side in ("input", "output")
        }
    return result


def _validated(adapter: TypeAdapter[_Checked], value: object, name: str) -> _Checked:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise _refusal(error, value, name) from None


def _refusal(error: ValidationError, value: object, name: str) -> ApiError:
    first = error.errors(include_url=False, include_context=False)[0]
    missing = first["type"] in ("missing", "union_tag_not_found")
    loc = first["loc"] if first["type"] != "union_tag_not_found" else (*first["loc"], "type")
    param = _param(loc, value, name)
    if missing:
        return ApiError(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    if first["type"] == "extra_forbidden":
        return ApiError(f"Unknown parameter: '{param}'.", code="unknown_parameter", param=param)
    code = "invalid_type" if first["type"].endswith("_type") else "invalid_value"
    return ApiError(f"Invalid value for '{param}': {first['msg']}.", code=code, param=param)


def _param(loc: tuple[int | str, ...], value: object, name: str) -> str:
    """Name the place of an error in the client's JSON.

    Pydantic's names of union members are left out.
    """
    path = name
    for position, part in enumerate(loc):
        if isinstance(value, list) and isinstance(part, int):
            path, value = f"{path}[{part}]", value[part]
        elif isinstance(value, dict) and part in value:
            path, value = f"{path}.{part}", value[part]
        elif isinstance(value, dict) and position == len(loc) - 1:
            path = f"{path}.{part}"
    return path
