"""The conversation of one call, without I/O: server events in, actions out.

It owns what must never be decided in two places: the one active response and the one pending `response.create`, and the
tool calls, collected from several kinds of event, told apart by tool call id, and answered all together. It holds no
socket and reads no clock, so that every order of events can be tested.

The rules it keeps, with their source in OpenAI's protocol:

- One response at a time writes to the conversation. A `response.create` waits for `response.done`; where voice activity
  detection was faster, the error `conversation_already_has_active_response` means "wait and ask again".
- A tool call runs only when its item is `completed`: a response that was cut leaves partial JSON behind.
- The outputs of all tool calls of one response go out before the one `response.create` that continues.
- An output's item id is derived from its tool call's id, so that whoever owns the call next can ask whether it arrived.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from supervisor.actions import (
    Action,
    Answered,
    Approve,
    Event,
    Expired,
    Failed,
    Heard,
    Idle,
    NotTranscribed,
    Pressed,
    RunTool,
    Said,
    Saying,
    Send,
    Told,
    TranscriptionUsed,
    Used,
)
from supervisor.errors import EventError

_MARK = "sideband"  # in the metadata of our responses, which OpenAI echoes
_ASK = "sideband_ask"  # in the metadata of responses beside the conversation
ASK_PREFIX = "ask_"  # of the keys that `Conversation.ask` is given
_NOT_THERE = "item_retrieve_invalid_item_id"

_RESTORED = "restored"  # the turn of the tool calls that an earlier owner left
_WORDS = {"response.output_audio_transcript.delta", "response.output_text.delta"}
_SIGNS_OF_LIFE = {"response.created", "input_audio_buffer.speech_started", *_WORDS}

UNKNOWN_RESPONSE = "unknown"
"""Stands for a response that is active but that we never saw begin."""

OUTPUT_TRIES = 3
"""How often an output is sent when OpenAI neither shows nor keeps it."""

MOST_TOOL_ROUNDS = 8
"""How often the model may call tools before it must speak, unless the caller says something."""
MOST_UNANSWERED = 3
"""How often in a row a response is asked for of which nothing is heard."""
MOST_ORDERS = 32
"""Of how many items without a transcript the place is remembered."""
MOST_FAILURES = 2
"""How many failed responses in a row are asked for again."""
_FATAL = {"insufficient_quota", "invalid_api_key", "account_deactivated", "billing_hard_limit_reached"}


@dataclass(slots=True)
class ToolCall:
    """One function call that the model completed."""

    name: str
    arguments: str
    output: str | None = None
    """What to tell the model; None while the tool runs."""
    confirmed: bool = False
    """Whether OpenAI has shown us the output in the conversation."""
    maybe_sent: bool = False
    """Whether the output was written to a sideband, by us or by an earlier owner of the call."""
    tries: int = 0
    """How often the output was sent, by us."""
    asked: int = 0
    """How often OpenAI was asked whether it has it, since the last attach."""


@dataclass(slots=True)
class _Turn:
    """The tool calls of one response; when it is complete and none is open, the model is asked to go on."""

    open_calls: set[str] = field(default_factory=set)
    complete: bool = False
    news: bool = False
    """Whether the model was told anything that it may not have answered yet."""


def output_item_id(tool_call_id: str) -> str:
    """The id of the item that answers a tool call: derived, and at most 32 characters, which is OpenAI's limit.

    Examples:
        >>> output_item_id("call_1") == output_item_id("call_1")
        True
        >>> len(output_item_id("call_1"))
        32
    """
    return "out_" + hashlib.sha256(tool_call_id.encode()).hexdigest()[:28]


@dataclass(slots=True)
class Conversation:
    """What is known of one call's conversation. Feed it every event; do what it returns, in order."""

    tool_calls: dict[str, ToolCall] = field(default_factory=dict)
    active_response: str | None = None
    """Id of the response that is being spoken, or `UNKNOWN_RESPONSE` when only its existence is known."""
    caller_speaking: bool = False
    caller_heard: bool = False
    """Whether the caller has made any sound since we hold the call."""
    playing: bool = False
    """Whether the caller hears the model now."""
    alive: bool = False
    """Whether anything was said or done since the last attach."""
    items: int = 0
    """How many items the conversation has had; an earlier owner's count is where ours begins."""
    watch_every: int = 0
    """Report what the model is saying each time it has grown by so many characters; 0 means never."""
    _order: dict[str, int] = field(default_factory=dict)
    _saying: dict[str, list[str]] = field(default_factory=dict)
    _reported: int = 0
    _rounds: int = 0
    _failures: int = 0
    _approvals: set[str] = field(default_factory=set)
    _wanted: dict[str, Any] | None = None
    """The pending `response.create`; at most one waits."""
    _in_flight: dict[str, Any] | None = None
    """The `response.create` event that OpenAI has neither begun nor refused."""
    _only_if_silent: bool = False
    """Whether what is wanted or in flight is needless when another response is active."""
    _turns: dict[str, _Turn] = field(default_factory=dict)
    _asked: dict[str, str] = field(default_factory=dict)
    """Tool call ids by the event ids of what we sent about their outputs, for errors that name our event."""
    _events_sent: int = 0
    _begun_since: bool = False
    """Whether any response has begun since the last one was asked for."""
    _unanswered: int = 0

    @property
    def waiting_for(self) -> str | None:
        """The event id of the `response.create` that OpenAI has neither begun nor refused."""
        return self._in_flight["event_id"] if self._in_flight else None

    def unanswered(self) -> list[Action]:
        """Nothing came of what `waiting_for` names: an error need not name its event, and an echo may be missing.

        Where a response has begun since, that one has to do. Else it is asked for again, a few times.
        """
        lost, self._in_flight = self._in_flight, None
        self._unanswered += 1
        if lost and not self._begun_since and self._unanswered < MOST_UNANSWERED and self._wanted is None:
            self._wanted, self._only_if_silent = lost.get("response", {}), True
        return list(self._ask_if_free())

    def reads(self, type_: str) -> bool:
        """Whether an event of this type may change anything now; what it does not read need not be fed to it."""
        if type_ in _WORDS:
            return self.watch_every > 0 or not self.alive
        return type_ in self._HANDLERS

    def receive(self, event: Event) -> list[Action]:
        """Take one server event; returns what to do now. Unknown events and fields change nothing.

        Raises:
            EventError: the event's parts are not of the shape that OpenAI documents; the call can go on without it.
        """
        try:
            handler = self._HANDLERS.get(event["type"])
            self.alive = self.alive or event["type"] in _SIGNS_OF_LIFE
            return list(handler(self, event)) if handler else []
        except (AttributeError, KeyError, TypeError) as error:
            raise EventError(f"an event of type {event.get('type')!r} has an unexpected shape") from error

    def respond(self, response: Mapping[str, Any] | None = None) -> list[Action]:
        """Ask the model to speak, as soon as no other response is active.

        Args:
            response: OpenAI's `response.create.response` (reference 4.4), such as instructions for this one response.
        """
        if response or self._wanted is None:
            self._wanted = dict(response or {})
        self._only_if_silent = False
        return list(self._ask_if_free())

    def break_silence(self) -> list[Action]:
        """Ask the model to go on, unless something is being said, done or asked for already."""
        if self.busy:
            return []
        actions = self.respond()
        self._only_if_silent = True
        return actions

    def ask(self, key: str, instructions: str) -> list[Action]:
        """Ask the model something beside the conversation, unheard by the caller (reference 4.4); see `Told`."""
        event = {"type": "response.create", "event_id": key}
        response = {"conversation": "none", "output_modalities": ["text"], "metadata": {_ASK: key}}
        return [Send({**event, "response": {**response, "instructions": instructions}})]

    def interrupt(self) -> list[Action]:
        """Stop what is being said: cancel first, then throw away what has not been played (reference 4.1)."""
        actions: list[Action] = []
        if self.active_response is not None:
            actions.append(Send(self._event("response.cancel")))
        if self.active_response is not None or self.playing:
            actions.append(Send(self._event("output_audio_buffer.clear")))
        self._wanted = None
        return actions

    def approved(self, request_id: str, *, approve: bool, reason: str | None = None) -> list[Action]:
        """Answer an approval request of a hosted MCP tool (reference 6.6)."""
        event = self._event("conversation.item.create")
        item = {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve}
        event["item"] = {"id": output_item_id(request_id), **item, **({"reason": reason} if reason else {})}
        return [Send(event)]

    @property
    def busy(self) -> bool:
        """Whether a word or an answer is on its way: the model speaks, the caller speaks, or a tool runs."""
        asked = self._wanted is not None or self._in_flight is not None
        tool_runs = any(call.output is None for call in self.tool_calls.values())
        return self.active_response is not None or asked or self.caller_speaking or tool_runs

    @property
    def speaking(self) -> bool:
        """Whether the model speaks, or is about to."""
        asked = self._wanted is not None or self._in_flight is not None
        return self.active_response is not None or self.playing or asked

    def tool_finished(self, tool_call_id: str, output: str) -> list[Action]:
        """Answer a tool call. The last answer of a turn also asks the model to go on."""
        call = self.tool_calls.get(tool_call_id)
        if call is None or call.output is not None:
            return []
        call.output = output
        return [self._send_output(tool_call_id, call), *self._close(tool_call_id, news=True)]

    def restore(self, tool_calls: Mapping[str, ToolCall]) -> list[Action]:
        """Take over what an earlier owner left: run what has no output; the rest is settled by the next attach."""
        new = {id_: call for id_, call in tool_calls.items() if id_ not in self.tool_calls}
        self.tool_calls |= new
        if unsettled := {id_ for id_, call in new.items() if not call.confirmed}:
            self._turns.setdefault(_RESTORED, _Turn(complete=True)).open_calls |= unsettled
        return [RunTool(id_, call.name, call.arguments) for id_, call in new.items() if call.output is None]

    def learned(self, tool_calls: Mapping[str, ToolCall]) -> list[Action]:
        """The same, where it came to light only after the attach, since the record was out of reach before."""
        new = [id_ for id_ in tool_calls if id_ not in self.tool_calls]
        return [*self.restore(tool_calls), *self._settle(new)]

    def attached(self) -> list[Action]:
        """A new sideband is there: ask whether each output that was not confirmed has arrived.

        No event is replayed after an attach (reference 3.4). What was active is unknown; if something is, the error to
        our next `response.create` says so.
        """
        self.active_response = None
        self.caller_speaking = self.playing = self.alive = False
        self._asked.clear()
        if self._in_flight is not None:
            self._wanted, self._in_flight = self._in_flight.get("response", {}), None
            self._only_if_silent = True  # it may have arrived, and be spoken now
        actions = self._settle(self.tool_calls)
        for turn in list(self._turns.values()):
            turn.complete = True
            actions += self._continue(turn)
        return actions + list(self._ask_if_free())

    def _settle(self, tool_call_ids: Iterable[str]) -> list[Action]:
        """Ask about each output that may have been sent and was not confirmed; send those that were not sent."""
        actions: list[Action] = []
        for tool_call_id in list(tool_call_ids):
            call = self.tool_calls[tool_call_id]
            if call.output is None or call.confirmed:
                continue
            if call.maybe_sent:
                call.asked = 0
                actions.append(self._retrieve(tool_call_id, call))
            else:
                actions += [self._send_output(tool_call_id, call), *self._close(tool_call_id, news=True)]
        return actions

    # What each kind of event does.

    def _on_response_created(self, event: Event) -> Iterator[Action]:
        response = event.get("response") or {}
        metadata = response.get("metadata") or {}
        if _ASK in metadata:
            return
        self.active_response = response.get("id") or UNKNOWN_RESPONSE
        self._begun_since = True
        if self._is_in_flight(metadata.get(_MARK)):
            self._in_flight = None
            self._unanswered = 0
        yield from ()

    def _on_response_done(self, event: Event) -> Iterator[Action]:
        response = event.get("response") or {}
        response_id = response.get("id") or UNKNOWN_RESPONSE
        if usage := response.get("usage"):
            yield Used(response_id=response_id, usage=usage)
        output = response.get("output") or ()
        if key := (response.get("metadata") or {}).get(_ASK):
            yield Told(key, _text_of(output))
            return
        for item in output:
            yield from self._collect(item, response_id)
        self.active_response = None
        self._saying.clear()
        self._forget(but={item.get("call_id") for item in output})
        if response.get("status") == "failed":
            yield from self._failed((response.get("status_details") or {}).get("error") or {})
        else:
            self._failures = 0
        if output and output[-1].get("type") == "mcp_call":
            yield from self.break_silence()  # some models stay silent after a hosted tool (reference 6.6)
        if turn := self._turns.get(response_id):
            turn.complete = True
            yield from self._continue(turn)
        yield from self._ask_if_free()

    def _on_output_item_done(self, event: Event) -> Iterator[Action]:
        yield from self._collect(event.get("item") or {}, event.get("response_id") or UNKNOWN_RESPONSE)

    def _on_item_added(self, event: Event) -> Iterator[Action]:
        item = event.get("item") or {}
        if (item_id := item.get("id")) and item_id not in self._order:
            self.items += 1
            if item.get("type") == "message":  # nothing else is ever said
                self._order[item_id] = self.items
                if len(self._order) > MOST_ORDERS:
                    del self._order[next(iter(self._order))]
        yield from self._on_item(event)

    def _on_item(self, event: Event) -> Iterator[Action]:
        item = event.get("item") or {}
        if item.get("type") == "mcp_approval_request" and item["id"] not in self._approvals:
            self._approvals.add(item["id"])
            yield Approve(item["id"], item.get("server_label", ""), item.get("name", ""), item.get("arguments", ""))
        call = self.tool_calls.get(item.get("call_id") or "")
        if item.get("type") == "function_call_output" and call and not call.confirmed:
            call.confirmed = True
            yield Answered(tool_call_id=item["call_id"])
            yield from self._close(item["call_id"], news=False)

    def _on_speech_started(self, _event: Event) -> Iterator[Action]:
        self.caller_speaking = self.caller_heard = True
        self._rounds = 0
        yield from ()

    def _on_key(self, event: Event) -> Iterator[Action]:
        self.caller_heard = True
        self._rounds = 0
        yield Pressed(str(event.get("event")))

    def _on_idle(self, _event: Event) -> Iterator[Action]:
        yield Idle()

    def _on_playing(self, _event: Event) -> Iterator[Action]:
        self.playing = True
        yield from ()

    def _on_played(self, event: Event) -> Iterator[Action]:
        self.playing = False
        yield Heard(event.get("response_id") or UNKNOWN_RESPONSE)

    def _on_delta(self, event: Event) -> Iterator[Action]:
        if self.watch_every:
            item_id = event.get("item_id") or ""
            pieces = self._saying.setdefault(item_id, [])
            if not pieces:
                self._reported = 0
            pieces.append(event.get("delta") or "")
            text = "".join(pieces)
            if len(text) - self._reported >= self.watch_every:
                self._reported = len(text)
                yield Saying(item_id, text)

    def _on_speech_stopped(self, _event: Event) -> Iterator[Action]:
        self.caller_speaking = False
        yield from ()

    def _on_caller_said(self, event: Event) -> Iterator[Action]:
        if usage := event.get("usage"):
            yield TranscriptionUsed(usage)
        yield from self._said(event, "caller")

    def _on_not_transcribed(self, event: Event) -> Iterator[Action]:
        error = event.get("error") or {}
        yield NotTranscribed(event.get("item_id") or "", error.get("code") or error.get("type") or "unknown")

    def _on_agent_said(self, event: Event) -> Iterator[Action]:
        yield from self._said(event, "agent")

    def _on_error(self, event: Event) -> Iterator[Action]:
        error = event.get("error") or {}
        code, cause = error.get("code"), error.get("event_id") or ""
        if code == "session_expired":
            yield Expired()
        elif cause.startswith(ASK_PREFIX):
            yield Told(cause, None)
        elif code == "conversation_already_has_active_response":
            self.active_response = self.active_response or UNKNOWN_RESPONSE
            if self._in_flight is not None and not self._only_if_silent:
                self._wanted = self._wanted or self._in_flight.get("response", {})
            self._in_flight = None
        elif (tool_call_id := self._asked.pop(cause, None)) and (call := self.tool_calls.get(tool_call_id)):
            if call.confirmed:
                return
            if code != _NOT_THERE and call.asked < OUTPUT_TRIES:
                yield self._retrieve(tool_call_id, call)
            elif call.tries < OUTPUT_TRIES:  # a second one has the same id, and would be refused
                yield self._send_output(tool_call_id, call)
                yield from self._close(tool_call_id, news=True)
        elif self._is_in_flight(cause):
            self._in_flight = None
            yield from self._ask_if_free()

    # Parts of the above.

    def _said(self, event: Event, role: Literal["caller", "agent"]) -> Iterator[Action]:
        item_id = event.get("item_id") or ""
        if text := event.get("transcript") or event.get("text"):
            yield Said(item_id, role, text, self._order.pop(item_id, self.items))

    def _failed(self, error: Event) -> Iterator[Action]:
        """A response failed (reference 3.7): ask again, a few times, unless that can't help."""
        self._failures += 1
        code = error.get("code") or error.get("type") or "unknown"
        yield Failed(code, again=self._failures <= MOST_FAILURES and code not in _FATAL)

    def _forget(self, *, but: AbstractSet[str | None]) -> None:
        """A response is done: of earlier tool calls that OpenAI has the output of, nothing comes any more."""
        done = {id_ for id_, call in self.tool_calls.items() if call.confirmed and id_ not in but}
        if done:
            self.tool_calls = {id_: call for id_, call in self.tool_calls.items() if id_ not in done}
            self._asked = {event_id: id_ for event_id, id_ in self._asked.items() if id_ not in done}

    def _collect(self, item: Event, response_id: str) -> Iterator[Action]:
        """Take a function call that the model completed, once, however many events show it."""
        tool_call_id = item.get("call_id")
        if item.get("type") != "function_call" or item.get("status") != "completed" or not tool_call_id:
            return
        if tool_call_id in self.tool_calls:
            return
        call = ToolCall(name=item.get("name") or "", arguments=item.get("arguments") or "")
        self.tool_calls[tool_call_id] = call
        self._turns.setdefault(response_id, _Turn()).open_calls.add(tool_call_id)
        yield RunTool(tool_call_id=tool_call_id, name=call.name, arguments=call.arguments)

    def _close(self, tool_call_id: str, *, news: bool) -> list[Action]:
        """A tool call is answered."""
        turn = next((turn for turn in self._turns.values() if tool_call_id in turn.open_calls), None)
        if turn is None:
            return []
        turn.open_calls.remove(tool_call_id)
        turn.news = turn.news or news
        return self._continue(turn)

    def _continue(self, turn: _Turn) -> list[Action]:
        """Ask the model to go on if all tool calls of this turn are answered."""
        if not turn.complete or turn.open_calls:
            return []
        self._turns = {id_: other for id_, other in self._turns.items() if other is not turn}
        if not turn.news:
            return []
        self._rounds += 1
        return self.respond({"tool_choice": "none"} if self._rounds > MOST_TOOL_ROUNDS else None)

    def _ask_if_free(self) -> Iterator[Action]:
        if self._wanted is None or self._in_flight is not None or self.active_response is not None:
            return
        event = self._event("response.create")
        event["response"] = {**self._wanted, "metadata": {**self._wanted.get("metadata", {}), _MARK: event["event_id"]}}
        self._wanted, self._in_flight, self._begun_since = None, event, False
        yield Send(event)

    def _is_in_flight(self, event_id: str | None) -> bool:
        return self._in_flight is not None and self._in_flight["event_id"] == event_id

    def _send_output(self, tool_call_id: str, call: ToolCall) -> Send:
        call.tries += 1
        call.maybe_sent = True
        event = self._event("conversation.item.create")
        item = {"type": "function_call_output", "call_id": tool_call_id, "output": call.output}
        event["item"] = {"id": output_item_id(tool_call_id), **item}
        self._asked[event["event_id"]] = tool_call_id
        return Send(event)

    def _retrieve(self, tool_call_id: str, call: ToolCall) -> Send:
        call.asked += 1
        event = self._event("conversation.item.retrieve")
        event["item_id"] = output_item_id(tool_call_id)
        self._asked[event["event_id"]] = tool_call_id
        return Send(event)

    def _event(self, type_: str) -> dict[str, Any]:
        self._events_sent += 1
        return {"type": type_, "event_id": f"sb_{self._events_sent}"}

    _HANDLERS: ClassVar[dict[str, Callable[[Conversation, Event], Iterator[Action]]]] = {
        "response.created": _on_response_created,
        "response.done": _on_response_done,
        "response.output_item.done": _on_output_item_done,
        "conversation.item.added": _on_item_added,
        "conversation.item.done": _on_item,
        "conversation.item.retrieved": _on_item,
        "conversation.item.input_audio_transcription.completed": _on_caller_said,
        "input_audio_buffer.dtmf_event_received": _on_key,
        "input_audio_buffer.timeout_triggered": _on_idle,
        "output_audio_buffer.started": _on_playing,
        "output_audio_buffer.stopped": _on_played,
        "output_audio_buffer.cleared": _on_played,
        "response.output_audio_transcript.delta": _on_delta,
        "response.output_text.delta": _on_delta,
        "input_audio_buffer.speech_started": _on_speech_started,
        "input_audio_buffer.speech_stopped": _on_speech_stopped,
        "conversation.item.input_audio_transcription.failed": _on_not_transcribed,
        "response.output_audio_transcript.done": _on_agent_said,
        "response.output_text.done": _on_agent_said,
        "error": _on_error,
    }


def _text_of(output: Sequence[Event]) -> str:
    """The text in a response's output."""
    parts = [part for item in output for part in item.get("content") or ()]
    return "".join(part.get("text") or part.get("transcript") or "" for part in parts)
