"""What users write: an `Agent` is a session, a greeting and tools."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from supervisor.call import Call
from supervisor.errors import StartupError
from supervisor.tools import Tool, tool_from

Handler = Callable[[Call], Awaitable[None]]
F = TypeVar("F", bound=Callable[..., Any])


class Agent:
    """Answers calls: what OpenAI is told about the session, what to say first, and what the model may do.

    Args:
        session: the session as OpenAI's API has it (`RealtimeSessionCreateRequestParam` in the `openai` package types
            it), without `type` and `tools`, which are added.
        greeting: instructions for the first response, spoken at once; None lets the caller begin.

    Examples:
        >>> agent = Agent(session={"model": "gpt-realtime-2.1"}, greeting="Say hello.")
        >>> @agent.tool(idempotent=True)
        ... async def opening_hours(day: str) -> str:
        ...     "Look up when the shop is open."
        ...     return "9 to 5"
        >>> [tool["name"] for tool in agent.accept_body()["tools"]]
        ['opening_hours']
    """

    def __init__(self, *, session: Mapping[str, Any], greeting: str | None = None) -> None:
        self.session = dict(session)
        self.greeting = greeting
        self.tools: dict[str, Tool] = {}
        self.expiring_handlers: list[Handler] = []

    def tool(self, *, idempotent: bool = False, timeout: float = 20.0) -> Callable[[F], F]:
        """Let the model call a function.

        Args:
            idempotent: whether running it twice does no harm. Only then is it run again when a crash left its outcome
                unknown; otherwise the model is told that the outcome is unknown.
            timeout: seconds after which the model is told that the tool took too long.

        Raises:
            StartupError: a parameter has no type, or one without a JSON schema, or the name is taken.
        """

        def register(function: F) -> F:
            tool = tool_from(function, idempotent=idempotent, timeout_seconds=timeout)
            if tool.name in self.tools:
                raise StartupError(f"two tools are named {tool.name}: rename one")
            self.tools[tool.name] = tool
            return function

        return register

    def on_expiring(self, handler: Handler) -> Handler:
        """Have an async function called with the call two minutes before OpenAI's limit of 60 minutes ends it."""
        self.expiring_handlers.append(handler)
        return handler

    def accept_body(self) -> dict[str, Any]:
        """The session that accepts a call (reference 2, `accept`)."""
        tools = [*self.session.get("tools", ()), *(tool.definition() for tool in self.tools.values())]
        return {**self.session, "type": "realtime", **({"tools": tools} if tools else {})}

    def update_body(self) -> dict[str, Any]:
        """The session of a `session.update`: the same without the model, which can't change (reference 5)."""
        return {key: value for key, value in self.accept_body().items() if key != "model"}


def load(path: str) -> Agent:
    """Import the agent that a `module:attribute` path names.

    Raises:
        StartupError: there is no such module or attribute, its code failed, or it is not an Agent.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise StartupError(f"SIDEBAND_AGENT={path}: write it as module:attribute, such as examples.bikes:agent")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except StartupError as error:
        raise StartupError(f"SIDEBAND_AGENT={path}: {error}") from None
    except ModuleNotFoundError as error:
        raise StartupError(
            f"SIDEBAND_AGENT={path}: no module named {error.name!r}; run from the folder that holds it"
        ) from None
    except Exception as error:  # user's code may fail in any way; it is told in one line
        raise StartupError(f"SIDEBAND_AGENT={path}: {_last_line(error)}") from error
    agent = getattr(module, attribute, None)
    if not isinstance(agent, Agent):
        found = "nothing" if agent is None else f"a {type(agent).__name__}"
        raise StartupError(f"SIDEBAND_AGENT={path}: {attribute!r} is {found}, not an Agent")
    return agent


def _last_line(error: Exception) -> str:
    """Where and how code failed, in one line."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}: {type(error).__name__}: {' '.join(str(error).split())}"
