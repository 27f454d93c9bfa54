"""What caller and model say in one call: a list of steps.

The **caller's** steps happen in order. A caller is polite: `caller` and `hang_up` wait until the model has said its
answer and has no tool call open; `barge_in` does not.

    {"caller": "Where is order B-1042?"}           a turn: speech, its transcription, then whatever the session says
    {"caller": "mumble", "transcription": "failed"}
    {"barge_in": "Stop, the other order."}         speak in the middle of the next (or present) response, or at once
                                                   when a tool is running
    {"dtmf": "12#"}                                keys
    {"pause_ms": 200}                              silence, in real milliseconds whatever the speed
    {"wait_for": "greeting" | "tool_output" | "response"}
    {"hang_up": true}                              or "now", without waiting for anything
    {"event": {"type": "..."}}                     a server event sent just as it stands

The **model's** steps are taken by responses. A response that begins takes the step before which the caller stands;
where that is none of the model's, it says something of its own: a greeting, the outputs of tools, or an echo.

    {"model": "It ships tomorrow."}                optionally "incomplete": "max_output_tokens" | "content_filter"
    {"tool": "order_status", "arguments": {...}}   arguments: an object, or a string that is sent as it stands;
                                                   optionally "call_id"
    {"tools": [{"tool": ...}, {"tool": ...}]}      several tool calls in one response
    {"mcp": {"server_label": "...", "name": "...", "arguments": {...}, "output": "..."}}
                                                   or "error"; "approval": true asks first
    {"fail": {"code": "rate_limit_exceeded", "message": "..."}}

One response holds one step, except that `model` directly before a tool step is the preamble of the same response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class ScriptError(ValueError):
    """A script that cannot be played; the message names the step and why."""


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Caller(_Step):
    """The caller takes a turn."""

    caller: str = Field(min_length=1)
    transcription: Literal["completed", "failed"] = "completed"


class BargeIn(_Step):
    """The caller speaks over the model."""

    barge_in: str = Field(min_length=1)


class Dtmf(_Step):
    """The caller presses keys."""

    dtmf: str = Field(pattern="^[0-9*#A-D]+$")


class Pause(_Step):
    """The caller is silent."""

    pause_ms: float = Field(ge=0, le=3_600_000)


class WaitFor(_Step):
    """The caller waits for something in particular."""

    wait_for: Literal["greeting", "tool_output", "response"]


class HangUp(_Step):
    """The caller hangs up."""

    hang_up: Literal[True, "now"]


class RawEvent(_Step):
    """The server sends an event just as it stands in the script."""

    event: dict[str, Any]


class Model(_Step):
    """The model speaks."""

    model: str = Field(min_length=1)
    incomplete: Literal["max_output_tokens", "content_filter"] | None = None


class Tool(_Step):
    """The model calls a function."""

    tool: str = Field(min_length=1)
    arguments: dict[str, Any] | str = {}
    call_id: str | None = Field(None, min_length=1, max_length=64)

    @property
    def arguments_json(self) -> str:
        """The arguments as the model writes them: JSON, or the script's own string."""
        return self.arguments if isinstance(self.arguments, str) else orjson.dumps(self.arguments).decode()


class Tools(_Step):
    """The model calls several functions in one response."""

    tools: list[Tool] = Field(min_length=1)


class McpCall(_Step):
    """A call to a hosted MCP server, executed by OpenAI."""

    server_label: str
    name: str
    arguments: dict[str, Any] = {}
    output: str | None = None
    error: str | None = None
    approval: bool = False
    approved: str | None = None
    """The id of the approval request that this call answers; not for scripts."""


class Mcp(_Step):
    """The model calls a tool of a hosted MCP server."""

    mcp: McpCall


class Failure(_Step):
    """Why a response fails."""

    code: str
    message: str = "The server had an error while processing your request."
    type: str = "invalid_request_error"


class Fail(_Step):
    """The model's response fails."""

    fail: Failure


CallerStep = Caller | BargeIn | Dtmf | Pause | WaitFor | HangUp | RawEvent
ModelStep = Model | Tool | Tools | Mcp | Fail
Step = CallerStep | ModelStep
Part = Model | Tool | Mcp | Fail
"""What one response is made of."""

_STEPS: dict[str, type[Step]] = {
    "caller": Caller,
    "barge_in": BargeIn,
    "dtmf": Dtmf,
    "pause_ms": Pause,
    "wait_for": WaitFor,
    "hang_up": HangUp,
    "event": RawEvent,
    "model": Model,
    "tool": Tool,
    "tools": Tools,
    "mcp": Mcp,
    "fail": Fail,
}


def parse_script(steps: Iterable[Mapping[str, Any]]) -> list[Step]:
    """Read a script.

    Raises:
        ScriptError: a step is not one of those described above.
    """
    return [_parse_step(number, step) for number, step in enumerate(steps, 1)]


def _parse_step(number: int, step: Mapping[str, Any]) -> Step:
    kinds = [kind for kind in _STEPS if kind in step]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none of them"
        raise ScriptError(f"Step {number} {dict(step)}: needs exactly one of {', '.join(_STEPS)}; it has {found}.")
    try:
        return _STEPS[kinds[0]].model_validate(dict(step))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ScriptError(f"Step {number} {dict(step)}: {where}: {first['msg']}.") from None


class Script:
    """A script being played: the steps, and where the caller stands in them."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = list(steps)
        self.position = 0

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def due(self) -> Step | None:
        """The step before which the caller stands; None at the end."""
        return self._steps[self.position] if self.position < len(self._steps) else None

    def advance(self) -> None:
        """Step over what is due."""
        self.position += 1

    def take_turn(self, *, tools_allowed: bool, speaks_after_mcp: bool) -> list[Part]:
        """Take the parts of one response; none, if the caller is next.

        With `tools_allowed` false (`tool_choice:"none"`), tool calls that are due are stepped over.
        """
        parts: list[Part] = []
        while isinstance(step := self.due, ModelStep):
            calls_tools = isinstance(step, (Tool, Tools, Mcp))
            last = parts[-1] if parts else None
            joins = (
                last is None
                or (isinstance(last, Model) and calls_tools)
                or (isinstance(last, Mcp) and isinstance(step, Model) and speaks_after_mcp and not last.mcp.approval)
            )
            if not joins:
                break
            self.advance()
            if calls_tools and not tools_allowed:
                continue
            parts.extend(step.tools if isinstance(step, Tools) else [step])
        return parts
