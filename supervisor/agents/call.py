"""The call as an agent's code sees it."""

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

MOST_KEYS = 64  # that wait to be collected
EventHandler = Callable[[Event], Awaitable[None] | None]


class TransferFailed(SidebandError):
    """The call was not transferred, and goes on. The message says why."""


class CallControl(Protocol):
    """What a call can be made to do.

    `supervisor.calls` implements it, in the process that owns the call.
    """

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
    """Events for a call's handlers, and keys for `Call.digits`.

    The owner of the call makes it, hands it to the `Call`, and feeds it.
    """

    handlers: dict[str, list[EventHandler]] = field(default_factory=dict)
    """By the type of server event that they are called with."""
    _keys: asyncio.Queue[str] | None = None

    @property
    def keys(self) -> asyncio.Queue[str]:
        """Keys pressed and not collected yet, oldest first."""
        if self._keys is None:  # made when it is needed, which in most calls is never
            self._keys = asyncio.Queue(maxsize=MOST_KEYS)
        return self._keys

    def press(self, key: str) -> None:
        """Keep a key; when too many wait, the oldest is dropped."""
        if self.keys.full():
            self.keys.get_nowait()
        self.keys.put_nowait(key)


@dataclass(eq=False, slots=True)
class Call:
    """One call, as tools, guards and handlers get it.

    After a deploy or a crash another process goes on with the call, and has a `Call` of its own. Only `state` and what
    `update` changed go along.

    Attributes:
        notice: how we heard of the call; everything in it but `context` is untrusted.
        transcript: the last 10 pieces of what was said in this process's time with the call, newest last; each is a
            `Segment` with `role` (caller or agent) and `text`.
        cost_usd: what the call has cost at OpenAI so far, by the prices in `supervisor.openai.prices`.

    Examples:
        >>> from sideband import Agent
        >>> agent = Agent(session={"model": "gpt-realtime-2.1"})
        >>> @agent.tool
        ... async def put_into_basket(call: Call, item: str) -> str:
        ...     "Put an item into the caller's basket."
        ...     basket = call.state.setdefault("basket", [])
        ...     basket.append(item)
        ...     await call.say("I have noted that.")
        ...     return f"The basket holds {len(basket)} items."
    """

    notice: CallNotice
    _control: CallControl = field(repr=False)
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
        """The agent's own JSON object; change it in place.

        It survives crashes and deploys. What is not JSON comes back as JSON from another process: a tuple as a list, a
        date as text.
        """
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
        """The number that calls, or its SIP URI.

        None if withheld. Untrusted, unless your trunk checks it.
        """
        address = Incoming(self.notice).caller
        return (address.number or address.uri) if address else None

    @property
    def dialled(self) -> str | None:
        """The number that was called, or its SIP URI."""
        address = Incoming(self.notice).dialled
        return (address.number or address.uri) if address else None

    @property
    def context(self) -> dict[str, Any]:
        """The claims that your own backend vouched for.

        Tools may trust these, unlike anything that was said.
        """
        return self.notice.context

    @property
    def idempotency_key(self) -> str:
        """A key for the running tool's side effect, such as a payment.

        It is the same when the tool is run again after a crash, so that the payment service can tell a repetition.

        Raises:
            LookupError: no tool is running here.
        """
        return f"{self.call_id}:{running_tool_call.get()}"

    def header(self, name: str) -> str | None:
        """Return the first SIP header of this name; untrusted.

        Upper and lower case are the same. None if there is none.
        """
        return Incoming(self.notice).header(name)

    async def say(self, text: str) -> None:
        """Have the model say a text, after what is being said.

        It returns at once, and several texts are said in their order. Up to 32 wait; further ones are left out, and
        logged.
        """
        await self._control.respond(
            {"instructions": f"Say exactly this, and nothing else: {text}", "tool_choice": "none"}
        )

    async def ask(self, instructions: str, *, timeout: float = 10.0) -> str:  # noqa: ASYNC109 - as users say it
        """Ask the model something, unheard by the caller; return its answer.

        Args:
            instructions: the question, such as "In one word, is the caller angry?"
            timeout: seconds.

        Raises:
            TimeoutError: no answer came in time.
        """
        return await self._control.ask(instructions, timeout)

    async def interrupt(self) -> None:
        """Stop what is being said, and drop what waits."""
        await self._control.interrupt()

    async def update(self, session: Mapping[str, Any]) -> None:
        """Change the session of this call.

        Later owners of the call keep the change.

        Args:
            session: the changes, as OpenAI's API has them, such as `{"instructions": "Speak Dutch."}`. They are merged
                into the session, at any depth.
        """
        await self._control.update(session)

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send any client event of OpenAI's API; nothing is checked."""
        await self._control.send(event)

    def on(self, type_: str, handler: EventHandler) -> None:
        """Have a function called with each server event of a type.

        It is called for as long as this process owns the call.

        Args:
            type_: OpenAI's, such as `input_audio_buffer.speech_started`.
            handler: gets the event as decoded JSON. A plain function runs on the event loop, so it must be quick.
        """
        self._inputs.handlers.setdefault(type_, []).append(on_loop(handler))

    async def digits(self, *, max: int = 1, end: str = "#", timeout: float = 10.0) -> str:  # noqa: A002, ASYNC109
        """Collect the keys that the caller presses (DTMF), those pressed before included.

        Args:
            max: return after so many keys.
            end: return after this key; it is not part of the result.
            timeout: seconds to wait for each key; then the keys so far are returned.

        Examples:
            >>> async def read_customer_number(call: Call) -> str:
            ...     "Ask for the customer number."
            ...     await call.say("Please type your customer number, and end with the hash key.")
            ...     return await call.digits(max=8, end="#")
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
        """Transfer a SIP call; return when the caller is gone.

        Args:
            target_uri: a tel: or sip: URI that the setting `TRANSFER_TARGETS` allows.

        Raises:
            TransferFailed: the target is not allowed, OpenAI refused, or the caller is still here after 10 s.
        """
        await self._control.transfer(target_uri)

    async def hang_up(self, *, after_speech: bool = True) -> None:
        """End the call; harmless when repeated.

        Args:
            after_speech: whether the model may finish what it is saying, and what waits to be said; at most 12 s.
        """
        await self._control.hang_up(after_speech=after_speech)
