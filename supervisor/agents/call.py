"""The call as an agent's code sees it: what is known of it, and what can be done in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from function.notice import CallNotice
from supervisor.agents.incoming import Incoming
from supervisor.agents.user_code import on_loop
from supervisor.conversation.actions import Event
from supervisor.errors import SidebandError
from supervisor.records.record import Segment

running_tool_call: ContextVar[str] = ContextVar("running_tool_call")
"""The id of the tool call that runs in this task."""

MOST_KEYS = 64
EventHandler = Callable[[Event], Awaitable[None] | None]


class TransferFailed(SidebandError):
    """The call was not transferred; it is still ours. The message says why."""


class Control(Protocol):
    """What a `Call` asks of the process that owns the call; `supervisor.calls` implements it."""

    async def send(self, event: Mapping[str, Any]) -> None:
        """Write a client event to the sideband."""

    async def respond(self, response: Mapping[str, Any]) -> None:
        """Have the model speak, as soon as nothing else is being said."""

    async def interrupt(self) -> None:
        """Stop what is being said."""

    async def ask(self, instructions: str, timeout_seconds: float) -> str:
        """Ask the model something that the caller does not hear."""

    async def update(self, session: Mapping[str, Any]) -> None:
        """Change the session."""

    async def hang_up(self, *, after_speech: bool) -> None:
        """End the call."""

    async def transfer(self, target_uri: str) -> None:
        """Transfer the call to somebody else."""


@dataclass(eq=False, slots=True)
class CallInputs:
    """What reaches a call's code from outside: events for its handlers, and keys for `Call.digits`.

    The owner of the call makes it, hands it to the `Call`, and feeds it.
    """

    handlers: dict[str, list[EventHandler]] = field(default_factory=dict)
    """By the type of server event that they are called with."""
    _keys: asyncio.Queue[str] | None = None

    @property
    def keys(self) -> asyncio.Queue[str]:
        """Keys pressed and not collected yet, oldest first; made when first needed, which in most calls is never."""
        if self._keys is None:
            self._keys = asyncio.Queue(maxsize=MOST_KEYS)
        return self._keys

    def press(self, key: str) -> None:
        """Keep a key; when too many wait, the oldest is dropped."""
        if self.keys.full():
            self.keys.get_nowait()
        self.keys.put_nowait(key)


@dataclass(eq=False, slots=True)
class Call:
    """One call, for tools, guards and handlers; Sideband makes it.

    Whatever this object does reaches the caller only while this process owns the call: after a deploy, another process
    has another `Call` object for the same call, with the same `state`.

    Attributes:
        notice: how we heard of the call; everything in it but `context` is untrusted.
        transcript: the last 10 pieces of what was said in this process's time with the call, newest last.
        cost_usd: what the call has cost at OpenAI so far, by the prices in `supervisor.openai.prices`.

    Examples:
        A tool that uses the call's state, and speaks before it returns::

            @agent.tool
            async def order(call: Call, item: str) -> str:
                \"\"\"Put an item into the caller's basket.\"\"\"
                basket = call.state.setdefault("basket", [])
                basket.append(item)
                await call.say("I have noted that.")
                return f"The basket holds {len(basket)} items."
    """

    notice: CallNotice
    _control: Control = field(repr=False)
    _state: dict[str, Any] = field(default_factory=dict, repr=False)
    _inputs: CallInputs = field(default_factory=CallInputs, repr=False)
    transcript: Sequence[Segment] = field(default=(), repr=False)
    cost_usd: float = 0.0

    @property
    def call_id(self) -> str:
        """OpenAI's id of the call."""
        return self.notice.call_id

    @property
    def state(self) -> dict[str, Any]:
        """The agent's own JSON; it survives crashes and deploys. Change it in tools and handlers as you like."""
        return self._state

    @state.setter
    def state(self, value: dict[str, Any]) -> None:
        if value is not self._state:  # as it is after `call.state |= ...`
            raise AttributeError(
                f"the state of call {self.call_id} can't be replaced, since another would not be kept: "
                "write call.state.update(...), after call.state.clear() if need be"
            )

    @property
    def transport(self) -> str:
        """`sip` or `webrtc`."""
        return self.notice.transport

    @property
    def caller(self) -> str | None:
        """The number that calls, or its SIP URI; None if withheld. Untrusted, unless your trunk vouches for it."""
        address = Incoming(self.notice).caller
        return (address.number or address.uri) if address else None

    @property
    def dialled(self) -> str | None:
        """The number that was called, or its SIP URI."""
        address = Incoming(self.notice).dialled
        return (address.number or address.uri) if address else None

    @property
    def context(self) -> dict[str, Any]:
        """Claims that the application's own backend vouched for; tools may trust these, and nothing that was said."""
        return self.notice.context

    @property
    def idempotency_key(self) -> str:
        """A key for what the running tool does in the world: the same when it is run again after a crash.

        Raises:
            LookupError: no tool is running here.
        """
        return f"{self.call_id}:{running_tool_call.get()}"

    def header(self, name: str) -> str | None:
        """The first SIP header of this name, in any case; untrusted."""
        return Incoming(self.notice).header(name)

    async def say(self, text: str) -> None:
        """Have the model say this, as soon as nothing else is being said, and after what was to be said before.

        It returns at once. Dozens of texts may wait; what comes on top of them is left out, and logged.
        """
        await self._control.respond(
            {"instructions": f"Say exactly this, and nothing else: {text}", "tool_choice": "none"}
        )

    async def ask(self, instructions: str, *, timeout: float = 10.0) -> str:  # noqa: ASYNC109 - as users say it
        """Ask the model about the conversation, unheard by the caller; returns its text.

        Raises:
            TimeoutError: no answer came in time.
        """
        return await self._control.ask(instructions, timeout)

    async def interrupt(self) -> None:
        """Stop what the model is saying, at once."""
        await self._control.interrupt()

    async def update(self, session: Mapping[str, Any]) -> None:
        """Change the session, such as its instructions; whoever owns the call later keeps the change."""
        await self._control.update(session)

    async def send(self, event: Mapping[str, Any]) -> None:
        """Write any client event of OpenAI's; nothing is checked."""
        await self._control.send(event)

    def on(self, type_: str, handler: EventHandler) -> None:
        """Have server events of a type handed to a function, in this process's time with the call."""
        self._inputs.handlers.setdefault(type_, []).append(on_loop(handler))

    async def digits(self, *, max: int = 1, end: str = "#", timeout: float = 10.0) -> str:  # noqa: A002, ASYNC109
        """Collect the keys that the caller presses.

        Args:
            max: return after so many.
            end: return after this key, which is not among the result.
            timeout: seconds to wait for each key; then what there is is returned.
        """
        collected = ""
        while len(collected) < max:
            try:
                async with asyncio.timeout(timeout):
                    key = await self._inputs.keys.get()
            except TimeoutError:
                break
            if key == end:
                break
            collected += key
        return collected

    async def transfer(self, target_uri: str) -> None:
        """Transfer a SIP call to a tel: or sip: URI that `TRANSFER_TARGETS` allows; returns when the caller is gone.

        Raises:
            TransferFailed: the target is not allowed, OpenAI refused, or the caller is still here after some seconds.
        """
        await self._control.transfer(target_uri)

    async def hang_up(self, *, after_speech: bool = True) -> None:
        """End the call, by default after what is being said. Terminal, and harmless when repeated."""
        await self._control.hang_up(after_speech=after_speech)
