"""The agent: a session, a greeting, tools and rules."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from supervisor.agents import session as sessions
from supervisor.agents.call import Call
from supervisor.agents.incoming import Rule
from supervisor.agents.limits import Limits
from supervisor.agents.tools import Tool, ToolOptions, tool_from
from supervisor.agents.user_code import takes
from supervisor.conversation.actions import McpApprovalRequest
from supervisor.errors import StartupError

Handler = Callable[[Call], Awaitable[None] | None]
Guard = Callable[[Call, str], "str | Awaitable[str | None] | None"]
Approver = Callable[[Call, McpApprovalRequest], "bool | Awaitable[bool]"]
F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A", bound=Approver)
G = TypeVar("G", bound=Guard)
H = TypeVar("H", bound=Handler)
R = TypeVar("R", bound=Rule)


@dataclass(slots=True)
class Guards:
    """The checks of what is said; see `Agent.guard`."""

    inputs: list[Guard] = field(default_factory=list)
    outputs: list[Guard] = field(default_factory=list)

    def input(self, guard: G) -> G:
        """Check everything that the caller says, once it is transcribed.

        The session must name a transcription model, or the supervisor does not start.
        """
        self.inputs.append(takes(guard, "call", "said"))
        return guard

    def output(self, guard: G) -> G:
        """Check what the model is saying, while it speaks.

        The guard is called about every 40 characters, and once with the whole text.
        """
        self.outputs.append(takes(guard, "call", "saying"))
        return guard


@dataclass(slots=True)
class Handlers:
    """The functions that an agent's decorators registered, for the supervisor to call."""

    incoming: Rule | None = None
    approve: Approver | None = None
    expiring: list[Handler] = field(default_factory=list)
    end: list[Handler] = field(default_factory=list)


class Agent:
    """Answers calls, with a session, a greeting, tools and rules.

    Args:
        session: the session as OpenAI's API has it (`RealtimeSessionCreateRequestParam` in the `openai` package types
            it), without `type`, which is added. Tools of hosted MCP servers may be in it.
        greeting: instructions for the first response, spoken at once; None lets the caller begin.
        greeting_uninterruptible: whether the caller's voice is ignored until the greeting was heard.
        limits: when a call ends by itself; without them the defaults of `Limits` hold.
        max_calls: how many calls of this agent a supervisor has at once; more are answered with "busy" (486).
        max_calls_per_caller: how many calls of one number it has at once.
        apology: what to say when the model fails again and again.
        fallback: where to transfer the caller then, a tel: or sip: URI; None hangs up.

    Attributes:
        guard: decorators for functions that check what is said, `@agent.guard.input` and `@agent.guard.output`. Each
            function gets the call and the text, and returns None, or what the model shall say instead: then the model
            is interrupted, and what the caller has not heard yet is thrown away.
        tools: the registered tools, by name.
        handlers: the other registered functions.

    Raises:
        StartupError: the session holds something that OpenAI would break on; the message says what to write instead.

    Examples:
        >>> agent = Agent(session={"model": "gpt-realtime-2.1"}, greeting="Say hello.")
        >>> @agent.tool(idempotent=True)
        ... async def opening_hours(day: str) -> str:
        ...     "Look up when the shop is open."
        ...     return "9 to 5"
        >>> list(agent.tools)
        ['opening_hours']
        >>> @agent.guard.output
        ... def no_promises(call: Call, saying: str) -> str | None:
        ...     return "I can't promise that." if "guarantee" in saying else None
    """

    def __init__(
        self,
        *,
        session: Mapping[str, Any],
        greeting: str | None = None,
        greeting_uninterruptible: bool = False,
        limits: Limits | None = None,
        max_calls: int | None = None,
        max_calls_per_caller: int | None = None,
        apology: str = "I am sorry, something is wrong on our side.",
        fallback: str | None = None,
    ) -> None:
        _require(session, Mapping, "session", "a mapping, as OpenAI's API has it")
        _require(limits, Limits | None, "limits", "Limits(...)")
        _require(apology, str, "apology", "a text")
        for name, text in (("greeting", greeting), ("fallback", fallback)):
            _require(text, str | None, name, "a text")
        for name, number in (("max_calls", max_calls), ("max_calls_per_caller", max_calls_per_caller)):
            _require(number, int | None, name, "a whole number")
        if fallback and not fallback.startswith(("tel:", "sip:", "sips:")):
            raise StartupError(f"Agent(fallback={fallback!r}): write a tel: or sip: URI, such as tel:+31201234567")
        if problems := sessions.problems(session):
            raise StartupError("; ".join(problems))
        self.session = copy.deepcopy(dict(session))
        self.greeting = greeting
        self.greeting_uninterruptible = greeting_uninterruptible
        self.limits = limits or Limits()
        self.max_calls = max_calls
        self.max_calls_per_caller = max_calls_per_caller
        self.apology = apology
        self.fallback = fallback
        self.guard = Guards()
        self.tools: dict[str, Tool] = {}
        self.handlers = Handlers()

    @overload
    def tool(self, function: F, /) -> F: ...

    @overload
    def tool(
        self,
        /,
        *,
        idempotent: bool = ...,
        timeout: float = ...,
        max_calls: int | None = ...,
        filler: str | None = ...,
        filler_after: float = ...,
    ) -> Callable[[F], F]: ...

    def tool(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        idempotent: bool = False,
        timeout: float = 20.0,
        max_calls: int | None = None,
        filler: str | None = None,
        filler_after: float = 2.0,
    ) -> Any:
        """Let the model call a function.

        The decorator is written with options or without. The model sees the function's name, its docstring, and its
        parameters with their types and their descriptions in the docstring's `Args:` section. A first parameter named
        `call` is the `Call`; the model does not see it. Plain functions run in a thread. Return text, or anything that
        pydantic can write as JSON. When the function raises, the model is told that the tool failed, without details.

        Args:
            function: what the model may call.
            idempotent: whether running it twice does no harm. Only then is it run again when a crash left its outcome
                unknown; otherwise the model is told that the outcome is unknown.
            timeout: seconds after which the model is told that the tool took too long.
            max_calls: how often it may run in one call.
            filler: what the model says when the tool takes longer than `filler_after` seconds.
            filler_after: seconds.

        Raises:
            StartupError: a parameter has no type, or one without a JSON schema, or the name is taken.

        Examples:
            >>> agent = Agent(session={"model": "gpt-realtime-2.1"})
            >>> @agent.tool(idempotent=True, timeout=8, filler="One moment, I am looking that up.")
            ... async def order_status(call: Call, order_id: str) -> str:
            ...     '''Look up the status of an order.
            ...
            ...     Args:
            ...         order_id: The number on the receipt, such as B-1042.
            ...     '''
            ...     return f"{order_id} is in the workshop."
            >>> agent.tools["order_status"].definition()["parameters"]["required"]
            ['order_id']
        """
        options = ToolOptions(idempotent, timeout, max_calls, filler, filler_after)

        def register(function: F) -> F:
            tool = tool_from(function, options)
            if tool.name in self.tools:
                raise StartupError(f"two tools are named {tool.name}: rename one")
            self.tools[tool.name] = tool
            return function

        return register if function is None else register(function)

    def incoming(self, rule: R) -> R:
        """Have a function decide whether to take each call.

        It gets the `Incoming` call, a browser's too, and returns `Accept`, `Reject`, or None, which accepts. Without
        one all calls are taken. One that raises, takes longer than 2 s or returns anything else rejects the call with
        503. A browser's call does not ring, so rejecting hangs it up.

        Examples:
            >>> from sideband import Accept, Incoming, Reject
            >>> agent = Agent(session={"model": "gpt-realtime-2.1"})
            >>> @agent.incoming
            ... async def decide(incoming: Incoming) -> Accept | Reject:
            ...     if incoming.transport == "sip" and incoming.caller is None:
            ...         return Reject(603)
            ...     return Accept(state={"language": incoming.header("X-Language") or "en"})
        """
        self.handlers.incoming = takes(rule, "incoming")
        return rule

    def approve(self, approver: A) -> A:
        """Have a function approve calls to hosted MCP tools.

        It gets the call and the `McpApprovalRequest`, and approves by returning True. Everything else denies: to raise,
        to take longer than 5 s, or to have no such function.

        Examples:
            >>> agent = Agent(session={"model": "gpt-realtime-2.1"})
            >>> @agent.approve
            ... def only_lookups(call: Call, request: McpApprovalRequest) -> bool:
            ...     return request.name.startswith("find_")
        """
        self.handlers.approve = takes(approver, "call", "request")
        return approver

    def on_expiring(self, handler: H) -> H:
        """Have a function called before OpenAI ends a call.

        That is two minutes before OpenAI's limit of 60 minutes.
        """
        self.handlers.expiring.append(takes(handler, "call"))
        return handler

    def on_end(self, handler: H) -> H:
        """Have a function called when a call has ended.

        It runs once, in the process that writes the call's end.
        """
        self.handlers.end.append(takes(handler, "call"))
        return handler


def _require(value: object, kind: Any, name: str, wanted: str) -> None:
    """Refuse an argument of a wrong type."""
    if not isinstance(value, kind):
        raise StartupError(f"Agent({name}={value!r}): give {wanted}")
