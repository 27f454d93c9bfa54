"""What users write: an `Agent` is a session, a greeting, tools and rules."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from supervisor.agents import session as sessions
from supervisor.agents.call import Call
from supervisor.agents.incoming import Rule
from supervisor.agents.limits import Limits
from supervisor.agents.tools import Tool, tool_from
from supervisor.agents.user_code import takes
from supervisor.conversation.actions import McpApprovalRequest
from supervisor.errors import StartupError

Handler = Callable[[Call], Awaitable[None] | None]
Guard = Callable[[Call, str], "str | Awaitable[str | None] | None"]
Approver = Callable[[Call, McpApprovalRequest], "bool | Awaitable[bool]"]
F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound=Guard)
H = TypeVar("H", bound=Handler)


@dataclass(slots=True)
class Guards:
    """Rules on what is said. Each gets the call and the text, and returns None, or what the model shall say instead."""

    inputs: list[Guard] = field(default_factory=list)
    outputs: list[Guard] = field(default_factory=list)

    def input(self, guard: G) -> G:
        """Check each thing that the caller said, once it is transcribed."""
        self.inputs.append(takes(guard, "call", "said"))
        return guard

    def output(self, guard: G) -> G:
        """Check what the model is saying, while it says it."""
        self.outputs.append(takes(guard, "call", "saying"))
        return guard


class Agent:
    """Answers calls: what OpenAI is told about the session, what to say first, and what the model may do.

    Args:
        session: the session as OpenAI's API has it (`RealtimeSessionCreateRequestParam` in the `openai` package types
            it), without `type`, which is added. Tools of hosted MCP servers may be in it.
        greeting: instructions for the first response, spoken at once; None lets the caller begin.
        greeting_uninterruptible: whether the caller's voice is not listened to until the greeting was heard.
        limits: what ends a call by itself.
        max_calls: how many calls of this agent a supervisor holds at once; more are answered with "busy" (486).
        max_calls_per_caller: how many calls of one number it holds at once.
        apology: what to say when the model fails again and again.
        fallback: where to transfer the caller then, a tel: or sip: URI; None hangs up.

    Raises:
        StartupError: the session holds something that OpenAI would break on; the message says what to write instead.

    Examples:
        >>> agent = Agent(session={"model": "gpt-realtime-2.1"}, greeting="Say hello.")
        >>> @agent.tool(idempotent=True)
        ... async def opening_hours(day: str) -> str:
        ...     "Look up when the shop is open."
        ...     return "9 to 5"
        >>> [tool["name"] for tool in agent.accept_body()["tools"]]
        ['opening_hours']
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
        _refuse_other(session, Mapping, "session", "a mapping, as OpenAI's API has it")
        _refuse_other(limits, Limits | None, "limits", "Limits(...)")
        _refuse_other(apology, str, "apology", "a text")
        for name, text in (("greeting", greeting), ("fallback", fallback)):
            _refuse_other(text, str | None, name, "a text")
        for name, number in (("max_calls", max_calls), ("max_calls_per_caller", max_calls_per_caller)):
            _refuse_other(number, int | None, name, "a whole number")
        if fallback and not fallback.startswith(("tel:", "sip:", "sips:")):
            raise StartupError(f"Agent(fallback={fallback!r}): write a tel: or sip: URI, such as tel:+31201234567")
        if found := sessions.problems(session):
            raise StartupError("; ".join(found))
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
        self.rule: Rule | None = None
        self.approver: Approver | None = None
        self.expiring_handlers: list[Handler] = []
        self.end_handlers: list[Handler] = []

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
        """Let the model call a function, async or plain; plain ones run in a thread. Use it with arguments or without.

        Args:
            function: what the model may call; its first parameter may be named `call`.
            idempotent: whether running it twice does no harm. Only then is it run again when a crash left its outcome
                unknown; otherwise the model is told that the outcome is unknown.
            timeout: seconds after which the model is told that the tool took too long.
            max_calls: how often it may run in one call.
            filler: what the model says when the tool takes longer than `filler_after` seconds.
            filler_after: seconds.

        Raises:
            StartupError: a parameter has no type, or one without a JSON schema, or the name is taken.
        """

        def register(function: F) -> F:
            tool = tool_from(
                function,
                idempotent=idempotent,
                timeout_seconds=timeout,
                max_calls=max_calls,
                filler=filler,
                filler_after_seconds=filler_after,
            )
            if tool.name in self.tools:
                raise StartupError(f"two tools are named {tool.name}: rename one")
            self.tools[tool.name] = tool
            return function

        return register if function is None else register(function)

    def incoming(self, rule: Rule) -> Rule:
        """Have a function decide about each call, a browser's too: return `Accept`, `Reject` or None, which accepts.

        A rule that raises, or takes longer than 2 s, rejects the call with 503 rather than letting it ring. A browser's
        call does not ring: rejected, it is hung up.
        """
        self.rule = takes(rule, "incoming")
        return rule

    def approve(self, approver: Approver) -> Approver:
        """Have a function decide about calls to hosted MCP tools that ask for approval; without it all are denied."""
        self.approver = takes(approver, "call", "request")
        return approver

    def on_expiring(self, handler: H) -> H:
        """Have a function called with the call two minutes before OpenAI's limit of 60 minutes ends it."""
        self.expiring_handlers.append(takes(handler, "call"))
        return handler

    def on_end(self, handler: H) -> H:
        """Have a function called with the call when it has ended, once, by the owner that settles it."""
        self.end_handlers.append(takes(handler, "call"))
        return handler

    def accept_body(self, overrides: Mapping[str, Any] | None = None, *, transport: str = "sip") -> dict[str, Any]:
        """The session that accepts a call (reference 2, `accept`).

        The numbers of voice detection are left to the update after the attach: a SIP accept that has them is refused
        (reference 2.1).
        """
        tools = [*self.session.get("tools", ()), *(tool.definition() for tool in self.tools.values())]
        body = {**copy.deepcopy(self.session), "type": "realtime", **({"tools": tools} if tools else {})}
        body = sessions.merged(body, overrides or {})
        detection = ((body.get("audio") or {}).get("input") or {}).get("turn_detection")
        if transport == "sip" and isinstance(detection, dict):
            body = copy.deepcopy(body)
            for number in sessions.SIP_VAD_NUMBERS:
                body["audio"]["input"]["turn_detection"].pop(number, None)
        return body

    def update_body(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The session of a `session.update`: the same without the model, which can't change (reference 5)."""
        body = self.accept_body(overrides, transport="any")
        if self.greeting_uninterruptible:  # else nothing would undo that the caller was not listened to
            audio = body.setdefault("audio", {})
            audio["input"] = {"turn_detection": {"type": "server_vad"}, **(audio.get("input") or {})}
        return {key: value for key, value in body.items() if key != "model"}


def _refuse_other(value: object, kind: Any, name: str, wanted: str) -> None:
    if not isinstance(value, kind):
        raise StartupError(f"Agent({name}={value!r}): give {wanted}")
