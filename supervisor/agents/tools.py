"""Make tools of typed functions, and run them.

A tool's schema comes from its function's signature and docstring.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, get_type_hints

import docstring_parser
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from supervisor.agents.call import Call
from supervisor.agents.user_code import Failure, contained
from supervisor.errors import StartupError

log = structlog.get_logger()

ToolFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """How a tool is run; see `Agent.tool`."""

    idempotent: bool = False
    """Whether running it twice does no harm; only then is it run again after a crash."""
    timeout_seconds: float = 20.0
    max_calls: int | None = None
    """How often it may run in one call."""
    filler: str | None = None
    """What the model says when the tool takes longer than `filler_after_seconds`."""
    filler_after_seconds: float = 2.0

    def problem(self) -> str | None:
        """Say what is wrong with the options, if anything is."""
        for name, value, fits, wanted in (
            ("timeout", self.timeout_seconds, _is_seconds, "a number of seconds above 0"),
            ("max_calls", self.max_calls, _is_count, "a whole number above 0, or None"),
            ("filler", self.filler, _is_text, "a text, or None"),
            ("filler_after", self.filler_after_seconds, _is_seconds, "a number of seconds above 0"),
        ):
            if not fits(value):
                return f"{name}={value!r}: give {wanted}"
        return None


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int) and value > 0)


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    function: ToolFunction
    arguments: type[BaseModel]
    """What the model fills in."""
    wants_call: bool
    """Whether the function's first parameter is the `Call`."""
    options: ToolOptions
    filled: Mapping[str, FromCall] = field(default_factory=dict)
    """Parameters that come from the call, unseen by the model."""

    def definition(self) -> dict[str, Any]:
        """Return the tool as OpenAI's session lists it (openai-realtime.md#session-fields)."""
        parameters = _schema(self.arguments)
        return {"type": "function", "name": self.name, "description": self.description, "parameters": parameters}

    async def run(self, call: Call, arguments: str) -> str:
        """Run the tool; return its output for the model.

        Whatever goes wrong becomes an output that the model can read and act on, without internals.
        """
        try:
            values = self.arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors()]
            return error_output(f"These arguments do not fit the tool. {'; '.join(problems)}")
        keywords = {name: getattr(values, name) for name in self.arguments.model_fields}
        for name, source in self.filled.items():
            value = source.value(call)
            if value is None:
                log.warning("tool_not_run", tool=self.name, reason=f"the call has no {source.path}")
                return error_output("This can't be done in this call: who calls is not known well enough.")
            keywords[name] = value
        result = await contained(
            partial(self.function, *((call,) if self.wants_call else ()), **keywords),
            within_seconds=self.options.timeout_seconds,
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
    """Fills a tool's parameter from the call, hidden from the model.

    No caller can then talk the model into another customer's data. Where the call has no such value, the tool is not
    run, and the model is told so.

    Attributes:
        path: `caller`, `dialled`, `call_id`, `transport`, `context.CLAIM` or `header.NAME`. Only `context` was vouched
            for, by your own backend; the others are what the caller's side claims.

    Raises:
        StartupError: a call has nothing of this path.

    Examples:
        >>> from typing import Annotated
        >>> Customer = Annotated[str, FromCall("context.sub")]
        >>> async def my_orders(customer: Customer) -> list[str]:
        ...     "List the customer's orders."
        ...     return [f"orders of {customer}"]
    """

    path: str

    def __post_init__(self) -> None:
        kind, _, name = self.path.partition(".")
        if kind not in _PLAIN_PATHS and not (kind in {"context", "header"} and name):
            known = ", ".join([*_PLAIN_PATHS, "context.CLAIM", "header.NAME"])
            raise StartupError(f"FromCall({self.path!r}): there is no such thing in a call; write one of {known}")

    def value(self, call: Call) -> Any:
        """Return what the call has there; None if nothing."""
        kind, _, name = self.path.partition(".")
        if kind == "context":
            return call.context.get(name)
        return call.header(name) if kind == "header" else getattr(call, kind)


_PLAIN_PATHS = ("caller", "dialled", "call_id", "transport")


def tool_from(function: ToolFunction, options: ToolOptions) -> Tool:
    """Make a tool of a typed function.

    `Agent.tool` says what the model sees of it.

    Raises:
        StartupError: it is no such function, or an option, a parameter's type or its default does not fit.
    """
    name = _name(function)
    if problem := options.problem():
        raise StartupError(f"tool {name}: {problem}")
    doc = docstring_parser.parse(inspect.getdoc(function) or "", docstring_parser.DocstringStyle.GOOGLE)
    wants_call = next(iter(inspect.signature(function).parameters), None) == "call"
    fields, filled = _fields(function, name, {param.arg_name: param.description for param in doc.params})
    try:
        tool = Tool(
            name=name,
            description="\n".join(filter(None, (doc.short_description, doc.long_description))),
            function=function,
            arguments=create_model(name, __config__=ConfigDict(extra="forbid"), **fields),
            wants_call=wants_call,
            options=options,
            filled=filled,
        )
        tool.definition()
    except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
        reason = str(error).splitlines()[0]
        raise StartupError(f"tool {name}: a parameter's type has no JSON schema: {reason}") from error
    return tool


def _name(function: ToolFunction) -> str:
    """Return the function's name, if a tool may have it."""
    name = getattr(function, "__name__", None)
    if name is None or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise StartupError(f"tool {name or function!r}: write a plain or async function with def, one that returns")
    if not _TOOL_NAME.fullmatch(str(name)):
        raise StartupError(f"tool {name}: OpenAI takes up to 64 letters, digits, _ and -: rename the function")
    return str(name)


_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _fields(
    function: ToolFunction, tool: str, descriptions: Mapping[str, str | None]
) -> tuple[dict[str, Any], dict[str, FromCall]]:
    """Return the parameters of the model, and those of the call.

    The first are fields for pydantic; the second are filled by `FromCall`.
    """
    fields: dict[str, Any] = {}
    filled: dict[str, FromCall] = {}
    hints = get_type_hints(function, localns={"Call": Call}, include_extras=True)
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        if position == 0 and parameter.name == "call":
            continue
        if problem := _problem(parameter, hints):
            raise StartupError(f"tool {tool}: {problem}")
        hint = hints[parameter.name]
        if source := next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, FromCall)), None):
            filled[parameter.name] = source
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        if default is not ... and not _is_json(default):
            raise StartupError(
                f"tool {tool}: the default of {parameter.name!r} is not JSON; use a plain value, or None"
            )
        fields[parameter.name] = (hint, Field(default, description=descriptions.get(parameter.name)))
    return fields, filled


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _problem(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> str | None:
    """Say why nobody could fill a parameter; None if somebody can."""
    if parameter.kind not in _NAMED:
        return f"{parameter}: give each parameter a name that the model can fill"
    if parameter.name not in hints:
        return f"give the parameter {parameter.name!r} a type, such as {parameter.name}: str"
    if hints[parameter.name] is Call:
        return f"{parameter.name}: make the Call the first parameter, and name it call"
    return None


def _is_json(value: Any) -> bool:
    try:
        to_jsonable_python(value)
    except PydanticSerializationError:
        return False
    return True


@cache
def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments.

    Cached, since making it takes 1 ms and every attach sends it.
    """
    return _without_titles(arguments.model_json_schema())


def _without_titles(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without pydantic's titles, which only cost the model tokens."""
    return {
        key: {name: _without_titles(sub) for name, sub in value.items()}
        if key in ("properties", "$defs")
        else _without_titles(value)
        if isinstance(value, dict)
        else value
        for key, value in schema.items()
        if key != "title"
    }


def _output(result: Any, tool: str) -> str:
    """Return a tool's result as text or JSON for the model."""
    if isinstance(result, str):
        return result.encode(errors="replace").decode()  # half an emoji, cut by some back end, is not JSON
    try:
        return to_json(result, inf_nan_mode="null").decode()
    except ValueError:
        log.exception("tool_output_not_json", tool=tool)
        return error_output("It was done, but its result could not be read. Do not do it again.")


def error_output(message: str) -> str:
    """Return an output that tells the model what went wrong."""
    return to_json({"error": message}).decode()
