"""Check a session, change it, and make OpenAI's bodies of it.

The API breaks on some sessions in silence: those are refused at start, with what to write instead.
"""

from __future__ import annotations

import copy
import difflib
import functools
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

import orjson
from openai.types.realtime import RealtimeSessionCreateRequestParam
from pydantic import TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from supervisor.agents.tools import Tool

# Models that OpenAI shuts down: the date, and what to use instead (openai-realtime.md#retiring-models).
RETIRING = {
    **dict.fromkeys(
        ("gpt-realtime", "gpt-realtime-2025-08-28", "gpt-4o-realtime-preview"), ("2027-01-20", "gpt-realtime-2.1")
    ),
    **dict.fromkeys(
        ("gpt-realtime-mini", "gpt-realtime-mini-2025-12-15", "gpt-4o-mini-realtime-preview"),
        ("2027-01-20", "gpt-realtime-2.1-mini"),
    ),
    "gpt-realtime-mini-2025-10-06": ("2026-07-23", "gpt-realtime-2.1-mini"),
}
RETIRING_TRANSCRIPTION = dict.fromkeys(
    ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize"),
    ("2027-02-26", "gpt-transcribe or gpt-live-transcribe"),
)
PROMPT_ENDS_ON = "2026-11-30"
SPEEDS = (0.25, 1.5)  # openai-realtime.md#session-fields
SIP_VAD_NUMBERS = ("threshold", "prefix_padding_ms", "silence_duration_ms")
"""Fields of turn detection that a SIP accept is refused for (openai-realtime.md#sip-accept)."""

_SESSION: TypeAdapter[Any] = TypeAdapter(RealtimeSessionCreateRequestParam)


def problems(session: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with a session, a sentence each.

    Each sentence says what to write instead.
    """
    return [*_shape(session), *_models(session), *_audio(session), *_mcp(session)]


def transcribes(session: Mapping[str, Any]) -> bool:
    """Tell whether what the caller says is transcribed."""
    return _at(session, "audio", "input", "transcription", "model") is not None


def merged(session: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge changes into a session, at any depth.

    An object of another `type` replaces the old one. Neither argument is changed.

    Examples:
        >>> merged({"audio": {"output": {"speed": 1.2}}}, {"audio": {"input": {"turn_detection": None}}})
        {'audio': {'output': {'speed': 1.2}, 'input': {'turn_detection': None}}}
        >>> merged({"on": {"type": "server_vad", "threshold": 0.5}}, {"on": {"type": "semantic_vad"}})
        {'on': {'type': 'semantic_vad'}}
    """
    session = dict(session)
    for name, value in changes.items():
        old = session.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and value.get("type") in (None, old.get("type")):
            session[name] = merged(old, value)
        else:
            session[name] = value
    return session


def accept_body(
    session: Mapping[str, Any],
    tools: Mapping[str, Tool],
    changes: Mapping[str, Any] | None = None,
    *,
    transport: str = "sip",
) -> dict[str, Any]:
    """Return the session that accepts a call (openai-realtime.md#accept).

    Args:
        session: the agent's.
        tools: the agent's.
        changes: what differs from the agent's session in this call.
        transport: numbers of voice detection are left to the update after a SIP call's attach, since an accept that
            has them is refused (openai-realtime.md#sip-accept).
    """
    listed = [*session.get("tools", ()), *(tool.definition() for tool in tools.values())]
    body = merged({**session, "type": "realtime", **({"tools": listed} if listed else {})}, changes or {})
    if "audio" in body:
        body["audio"] = copy.deepcopy(body["audio"])  # parts of it are the agent's own, and it is changed below
    detection = _at(body, "audio", "input", "turn_detection")
    if transport == "sip" and isinstance(detection, dict):
        for number in SIP_VAD_NUMBERS:
            detection.pop(number, None)
    return body


def update_body(
    session: Mapping[str, Any],
    tools: Mapping[str, Tool],
    changes: Mapping[str, Any] | None = None,
    *,
    names_turn_detection: bool = False,
) -> dict[str, Any]:
    """Return the session of a `session.update` (openai-realtime.md#session-updates).

    It has no model, which can't change in a call.

    Args:
        session: the agent's.
        tools: the agent's.
        changes: what differs from the agent's session in this call.
        names_turn_detection: whether to name OpenAI's default where the session says nothing of turn detection. Only
            then does this update undo an earlier one that turned it off.
    """
    body = accept_body(session, tools, changes, transport="any")
    if names_turn_detection:
        audio = body.setdefault("audio", {})
        audio["input"] = {"turn_detection": {"type": "server_vad"}, **(audio.get("input") or {})}
    return {key: value for key, value in body.items() if key != "model"}


def _shape(session: Mapping[str, Any]) -> Iterator[str]:
    if session.get("type", "realtime") != "realtime":
        yield f"session.type is {session['type']!r}: leave it out, or write 'realtime'"
    if not session.get("model"):
        yield "session.model is missing: write 'gpt-realtime-2.1'"
    if "prompt" in session:
        yield f"session.prompt: OpenAI ends prompts on {PROMPT_ENDS_ON}; put the text into session.instructions"
    unknown = list(_unknown_fields(session, RealtimeSessionCreateRequestParam, "session"))
    yield from unknown or _wrong_values(session)


def _wrong_values(session: Mapping[str, Any]) -> Iterator[str]:
    """Yield values that OpenAI's own types do not allow.

    None is let through: the API takes it in more places than its types say.
    """
    try:
        _SESSION.validate_json(orjson.dumps({"type": "realtime", "model": "", **session}), strict=True)
    except TypeError as error:
        yield f"session can't be sent: {error}"
    except ValidationError as invalid:
        found: dict[str, list[str]] = {}
        wrong = [one for one in invalid.errors(include_url=False) if one["input"] is not None]
        for one in [one for one in wrong if one["loc"][-1] != "type"] or wrong:
            found.setdefault(_named(session, one["loc"]), []).append(one["msg"].removeprefix("Input "))
        for where, expected in found.items():
            yield f"{where}: {' or '.join(dict.fromkeys(expected))}"


def _named(session: Mapping[str, Any], path: tuple[int | str, ...]) -> str:
    """Write out a path into the session.

    pydantic's path also has the names of the types that it tried, which are left out.
    """
    name, value = "session", cast("Any", session)
    for part in path:
        if isinstance(value, Mapping) and part in value:
            name, value = f"{name}.{part}", value[cast("str", part)]
        elif isinstance(value, Sequence) and isinstance(part, int):
            name, value = f"{name}[{part}]", value[part]
        elif part == path[-1] and isinstance(part, str) and part.isidentifier() and isinstance(value, Mapping):
            name = f"{name}.{part}"
    return name


def _models(session: Mapping[str, Any]) -> Iterator[str]:
    if found := RETIRING.get(str(session.get("model"))):
        yield f"session.model: OpenAI shuts {session['model']} down on {found[0]}; use {found[1]}"
    model = _at(session, "audio", "input", "transcription", "model")
    if found := RETIRING_TRANSCRIPTION.get(str(model)):
        yield f"session.audio.input.transcription.model: OpenAI shuts {model} down on {found[0]}; use {found[1]}"


def _audio(session: Mapping[str, Any]) -> Iterator[str]:
    for side in ("input", "output"):
        if _at(session, "audio", side, "format") is not None:
            yield f"session.audio.{side}.format: leave it out; the call negotiates it, and forcing it makes noise"
    speed = _at(session, "audio", "output", "speed")
    if isinstance(speed, int | float) and not SPEEDS[0] <= speed <= SPEEDS[1]:
        yield f"session.audio.output.speed is {speed}: OpenAI takes {SPEEDS[0]} to {SPEEDS[1]}"


def _mcp(session: Mapping[str, Any]) -> Iterator[str]:
    labels: set[str] = set()
    tools = session.get("tools")
    for tool in tools if isinstance(tools, Sequence) else ():
        if not isinstance(tool, Mapping) or tool.get("type") != "mcp":
            continue
        label = str(tool.get("server_label"))
        if label in labels:
            yield f"session.tools: two MCP servers are labelled {label!r}; give each a label of its own"
        labels.add(label)
        if sum(name in tool for name in ("server_url", "connector_id", "tunnel_id")) != 1:
            yield f"session.tools: MCP server {label!r} needs either server_url, connector_id or tunnel_id"


def _at(value: Any, *path: str) -> Any:
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _unknown_fields(value: Mapping[str, Any], shape: Any, path: str) -> Iterator[str]:
    """Yield fields that OpenAI's own types do not know, at any depth."""
    known = _fields(shape)
    for name, inner in value.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            yield f"{path}.{name}: there is no such field" + (f"; did you mean {close[0]}?" if close else "")
        elif isinstance(inner, Mapping) and (shapes := known[name]):
            fitting = [each for each in shapes if set(inner) <= set(_fields(each))] or list(shapes)
            yield from _unknown_fields(inner, fitting[0], f"{path}.{name}")


@functools.cache
def _fields(shape: Any) -> dict[str, tuple[Any, ...]]:
    """Map a TypedDict's fields to the TypedDicts they may hold."""
    return {name: tuple(_typed_dicts(hint)) for name, hint in get_type_hints(shape).items()}


def _typed_dicts(hint: Any) -> Iterator[Any]:
    if is_typeddict(hint):
        yield hint
    elif get_origin(hint) in (Union, types.UnionType, typing.Annotated, typing.Required, typing.NotRequired):
        for part in get_args(hint):
            yield from _typed_dicts(part)
