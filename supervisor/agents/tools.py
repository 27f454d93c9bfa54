"""Tools: typed functions that the model may call, with a schema made from their signature and docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, get_type_hints

import docstring_parser
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from supervisor.agents.user_code import Failure, contained
from supervisor.errors import StartupError

if TYPE_CHECKING:
    from supervisor.agents.call import Call

log = structlog.get_logger()

ToolFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    function: ToolFunction
    arguments: type[BaseModel]
    wants_call: bool
    """Whether the function's first parameter is the `Call`."""
    idempotent: bool
    """Whether running it twice does no harm; only then is it run again after a crash."""
    timeout_seconds: float
    max_calls: int | None = None
    """How often it may run in one call."""
    filler: str | None = None
    """What the model says when the tool takes longer than `filler_after_seconds`."""
    filler_after_seconds: float = 2.0
    filled: Mapping[str, FromCall] = field(default_factory=dict)
    """Parameters that come from the call, unseen by the model."""

    def definition(self) -> dict[str, Any]:
        """The tool as OpenAI's session lists it (reference 5, `tools`)."""
        parameters = _parameters(self.arguments)
        return {"type": "function", "name": self.name, "description": self.description, "parameters": parameters}

    async def run(self, call: Call, arguments: str) -> str:
        """Run the tool on the model's arguments and return the output for the model, as text or JSON.

        Whatever goes wrong becomes an output that the model can read and act on, without internals.
        """
        try:
            values = self.arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors()]
            return error_output(f"These arguments do not fit the tool. {'; '.join(problems)}")
        positional = (call,) if self.wants_call else ()
        keywords = {name: getattr(values, name) for name in self.arguments.model_fields}
        for name, source in self.filled.items():
            value = source.value(call)
            if value is None:
                log.warning("tool_not_run", tool=self.name, reason=f"the call has no {source.path}")
                return error_output("This can't be done in this call: who calls is not known well enough.")
            keywords[name] = value
        result = await contained(
            partial(self.function, *positional, **keywords),
            within_seconds=self.timeout_seconds,
            failed="tool_failed",
            timed_out="tool_timed_out",
            tool=self.name,
        )
        if result is Failure.RAISED:
            return error_output("The tool failed.")
        if result is Failure.TIMED_OUT:
            return error_output("The tool took too long. Its outcome is unknown.")
        return _output(result, self.name)


@dataclass(frozen=True, slots=True)
class FromCall:
    """Fills a parameter from the call, hidden from the model: `customer: Annotated[str, FromCall("context.sub")]`.

    So no caller can talk the model into another customer's data. The path is `caller`, `dialled`, `call_id`,
    `transport`, `context.CLAIM` or `header.NAME`; of these only `context` was vouched for by your own backend.
    """

    path: str

    def __post_init__(self) -> None:
        kind, _, name = self.path.partition(".")
        if kind not in _PLAIN_PATHS and not (kind in {"context", "header"} and name):
            known = ", ".join([*_PLAIN_PATHS, "context.CLAIM", "header.NAME"])
            raise StartupError(f"FromCall({self.path!r}): there is no such thing in a call; write one of {known}")

    def value(self, call: Call) -> Any:
        """What the call has there; None if nothing."""
        kind, _, name = self.path.partition(".")
        if kind == "context":
            return call.context.get(name)
        return call.header(name) if kind == "header" else getattr(call, kind)


_PLAIN_PATHS = ("caller", "dialled", "call_id", "transport")


def tool_from(function: ToolFunction, *, idempotent: bool, timeout_seconds: float, **limits: Any) -> Tool:
    """Make a tool of a typed function.

    The name is the function's, the description its docstring's first part, and each parameter's description comes from
    the docstring's `Args:` section. A first parameter named `call` is given the `Call` and is hidden from the model.

    Raises:
        StartupError: it is no such function, or a parameter has no annotation, or one that has no JSON schema.
    """
    name = _name(function)
    for what, seconds in (("timeout", timeout_seconds), ("filler_after", limits.get("filler_after_seconds", 1))):
        if not isinstance(seconds, int | float) or seconds <= 0:
            raise StartupError(f"tool {name}: {what}={seconds!r}: give a number of seconds above 0")
    max_calls, filler = limits.get("max_calls"), limits.get("filler")
    if max_calls is not None and (not isinstance(max_calls, int) or max_calls <= 0):
        raise StartupError(f"tool {name}: max_calls={max_calls!r}: give a whole number above 0, or None")
    if not isinstance(filler, str | None):
        raise StartupError(f"tool {name}: filler={filler!r}: give a text, or None")
    hints = get_type_hints(function, localns=_call_type(), include_extras=True)
    parameters = dict(inspect.signature(function).parameters)
    wants_call = next(iter(parameters), None) == "call"
    if wants_call:
        del parameters["call"]
    doc = docstring_parser.parse(inspect.getdoc(function) or "", docstring_parser.DocstringStyle.GOOGLE)
    told = {param.arg_name: param.description for param in doc.params}
    fields: dict[str, Any] = {}
    filled: dict[str, FromCall] = {}
    for parameter in parameters.values():
        _refuse_unfit(parameter, hints, name)
        if source := _source_of(hints[parameter.name]):
            filled[parameter.name] = source
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        if not _is_json(default):
            raise StartupError(
                f"tool {name}: the default of {parameter.name!r} is not JSON; use a plain value, or None"
            )
        fields[parameter.name] = (hints[parameter.name], Field(default, description=told.get(parameter.name)))
    try:
        arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        tool = Tool(
            name=name,
            description="\n".join(filter(None, (doc.short_description, doc.long_description))),
            function=function,
            arguments=arguments,
            wants_call=wants_call,
            idempotent=idempotent,
            timeout_seconds=timeout_seconds,
            filled=filled,
            **limits,
        )
        tool.definition()
    except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
        raise StartupError(
            f"tool {name}: a parameter's type has no JSON schema: {str(error).splitlines()[0]}"
        ) from error
    return tool


def _name(function: ToolFunction) -> str:
    name = getattr(function, "__name__", None)
    if name is None or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise StartupError(f"tool {name or function!r}: write a plain or async function with def, one that returns")
    if not _TOOL_NAME.fullmatch(str(name)):
        raise StartupError(f"tool {name}: OpenAI takes up to 64 letters, digits, _ and -: rename the function")
    return str(name)


_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _refuse_unfit(parameter: inspect.Parameter, hints: Mapping[str, Any], tool: str) -> None:
    """Refuse a parameter that the model could not fill."""
    if parameter.kind not in _NAMED:
        raise StartupError(f"tool {tool}: {parameter}: give each parameter a name that the model can fill")
    if parameter.name not in hints:
        raise StartupError(f"tool {tool}: give the parameter {parameter.name!r} a type, such as {parameter.name}: str")
    if hints[parameter.name] is _call_type()["Call"]:
        raise StartupError(f"tool {tool}: {parameter.name}: make the Call the first parameter, and name it call")


def _source_of(hint: Any) -> FromCall | None:
    return next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, FromCall)), None)


def _is_json(value: Any) -> bool:
    if value is ...:
        return True
    try:
        to_jsonable_python(value)
    except PydanticSerializationError:
        return False
    return True


def _call_type() -> dict[str, Any]:
    from supervisor.agents.call import Call  # noqa: PLC0415 - tools and calls name each other; only the type is needed here

    return {"Call": Call}


@cache
def _parameters(arguments: type[BaseModel]) -> dict[str, Any]:
    """The schema of a tool's arguments; every attach sends it, and to make it takes a millisecond."""
    return _plain(arguments.model_json_schema())


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without pydantic's titles, which only cost the model tokens."""
    return {
        key: {name: _plain(sub) for name, sub in value.items()}
        if key in ("properties", "$defs")
        else _plain(value)
        if isinstance(value, dict)
        else value
        for key, value in schema.items()
        if key != "title"
    }


def _output(result: Any, tool: str) -> str:
    if isinstance(result, str):
        return result.encode(errors="replace").decode()  # half an emoji, cut by some back end, is not JSON
    try:
        return to_json(result, inf_nan_mode="null").decode()
    except ValueError:
        log.exception("tool_output_not_json", tool=tool)
        return error_output("It was done, but its result could not be read. Do not do it again.")


def error_output(message: str) -> str:
    """An output that tells the model what went wrong."""
    return to_json({"error": message}).decode()
