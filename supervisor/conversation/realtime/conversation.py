"""The conversation of one call, without I/O: server events in, actions out.

It owns what must never be decided in two places: `floor` keeps the one active response and those that wait for it to
end, `toolcalls` the tool calls and their outputs. Here each kind of event is taken apart and goes to one,
to the other, or becomes a report: of the transcript, the bill, keys, and what the caller hears. Nothing here holds a
socket or reads a clock, so that every order of events can be tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from supervisor.conversation.actions import (
    Action,
    DtmfReceived,
    Event,
    Idle,
    McpApprovalRequest,
    NotTranscribed,
    OutOfBandAnswer,
    PlaybackEnded,
    ResponseBilled,
    ResponseFailed,
    Send,
    SessionExpired,
    Transcribed,
    TranscriptDelta,
    TranscriptionBilled,
)
from supervisor.conversation.realtime.responses import UNKNOWN_RESPONSE, ResponseQueue
from supervisor.conversation.realtime.tool_calls import ToolCall, ToolCalls, output_item_id
from supervisor.errors import EventError

_ASK = "sideband_ask"  # in the metadata of responses beside the conversation
ASK_PREFIX = "ask_"  # of the keys that `Conversation.ask` is given

_WORDS = {"response.output_audio_transcript.delta", "response.output_text.delta"}
_SIGNS_OF_LIFE = {"response.created", "input_audio_buffer.speech_started", *_WORDS}

MOST_ORDERS = 32
"""Of how many items without a transcript the place is remembered."""
MOST_FAILURES = 2
"""How many failed responses in a row are asked for again."""
_FATAL = {"insufficient_quota", "invalid_api_key", "account_deactivated", "billing_hard_limit_reached"}


@dataclass(slots=True)
class Conversation:
    """What is known of one call's conversation. Feed it every event; do what it returns, in order."""

    owner: int = 0
    """Which owner of the call this is, by its epoch."""
    caller_speaking: bool = False
    caller_heard: bool = False
    """Whether the caller has said, typed or pressed anything since we hold the call."""
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
    _failures: int = 0
    _silent_item: object = None
    """Id of the item that OpenAI made of the caller's silence."""
    _approvals: set[str] = field(default_factory=set)
    _floor: ResponseQueue = field(init=False)
    _tool_calls: ToolCalls = field(init=False)

    def __post_init__(self) -> None:
        self._floor = ResponseQueue(owner=self.owner)
        self._tool_calls = ToolCalls(self._floor)

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
            response: OpenAI's `response.create.response` (reference 4.4) with `instructions` for this one response, to
                be asked for after all that is wanted already; without them the model shall go on by itself, once.
        """
        return self._floor.respond(response)

    @property
    def full(self) -> bool:
        """Whether so much is waiting to be said that nothing more is taken."""
        return self._floor.full

    def break_silence(self) -> list[Action]:
        """Ask the model to go on, unless something is being said, done or asked for already."""
        return [] if self.busy else self._floor.respond(only_if_silent=True)

    @property
    def waiting_for(self) -> str | None:
        """The event id of the `response.create` that OpenAI has neither begun nor refused."""
        return self._floor.waiting_for

    def unanswered(self) -> list[Action]:
        """Nothing came of what `waiting_for` names: an error need not name its event, and an echo may be missing.

        Where a response has begun since, that one has to do. Else it is asked for again, a few times.
        """
        return self._floor.unanswered()

    def ask(self, key: str, instructions: str) -> list[Action]:
        """Ask the model something that the caller does not hear (reference 4.4); see `OutOfBandAnswer`."""
        event = {"type": "response.create", "event_id": key}
        response = {"conversation": "none", "output_modalities": ["text"], "metadata": {_ASK: key}}
        return [Send({**event, "response": {**response, "instructions": instructions}})]

    def interrupt(self) -> list[Action]:
        """Stop what is being said: cancel first, then throw away what has not been played (reference 4.1).

        What was to be said after it is thrown away as well. An output that the model has not spoken of is not.
        """
        actions: list[Action] = []
        if self._floor.active is not None:
            actions.append(Send(self._floor.event("response.cancel")))
        if self._floor.active is not None or self.playing:
            actions.append(Send(self._floor.event("output_audio_buffer.clear")))
        self._floor.withdraw()
        return actions

    def approved(self, request_id: str, *, approve: bool, reason: str | None = None) -> list[Action]:
        """Answer an approval request of a hosted MCP tool (reference 6.6)."""
        event = self._floor.event("conversation.item.create")
        item = {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve}
        event["item"] = {"id": output_item_id(request_id), **item, **({"reason": reason} if reason else {})}
        return [Send(event)]

    @property
    def busy(self) -> bool:
        """Whether a word or an answer is on its way: the model speaks, the caller speaks, or a tool runs."""
        return self._floor.taken or self._others_act

    @property
    def speaking(self) -> bool:
        """Whether the model speaks, or is about to."""
        return self._floor.taken or self.playing

    @property
    def tool_calls(self) -> Mapping[str, ToolCall]:
        """Those that are not settled yet, by their ids."""
        return self._tool_calls.known

    def tool_finished(self, tool_call_id: str, output: str) -> list[Action]:
        """Answer a tool call. The last answer of a turn also asks the model to go on."""
        return self._tool_calls.finished(tool_call_id, output)

    def restore(self, tool_calls: Mapping[str, ToolCall]) -> list[Action]:
        """Take over what an earlier owner left: run what has no output; the rest is settled by the next attach."""
        return self._tool_calls.restore(tool_calls)

    def learned(self, tool_calls: Mapping[str, ToolCall]) -> list[Action]:
        """The same, where it came to light only after the attach, since the record was out of reach before."""
        return self._tool_calls.learned(tool_calls)

    def attached(self) -> list[Action]:
        """A new sideband is there: ask whether each output that was not confirmed has arrived.

        No event is replayed after an attach (reference 3.4). What was active is unknown; if something is, the error to
        our next `response.create` says so.
        """
        self.caller_speaking = self.playing = self.alive = False
        self._floor.attached()
        return [*self._tool_calls.attached(), *self._floor.ask()]

    @property
    def _others_act(self) -> bool:
        """Whether a word or an answer comes from elsewhere than the model: the caller speaks, or a tool runs."""
        return self.caller_speaking or self._tool_calls.running

    # What each kind of event does.

    def _on_response_created(self, event: Event) -> Iterator[Action]:
        response = event.get("response") or {}
        metadata = response.get("metadata") or {}
        if _ASK in metadata:
            return
        response_id = _response_id(response.get("id"))
        self._floor.begun(response_id, metadata, has_seen_all=self._tool_calls.all_shown)
        yield from ()

    def _on_response_done(self, event: Event) -> Iterator[Action]:
        response = event.get("response") or {}
        response_id = _response_id(response.get("id"))
        if usage := response.get("usage"):
            yield ResponseBilled(response_id=response_id, usage=usage)
        output = [item for item in response.get("output") or () if isinstance(item, dict)]
        metadata = response.get("metadata") or {}
        if _ASK in metadata:
            yield OutOfBandAnswer(_id_of(metadata, _ASK), _text_of(output))
            return
        self._floor.ended(metadata)
        for item in output:
            yield from self._tool_calls.collect(item, response_id)
        self._saying.clear()
        self._tool_calls.forget(but={id_ for item in output if isinstance(id_ := item.get("call_id"), str)})
        if response.get("status") == "failed":
            yield from self._failed((response.get("status_details") or {}).get("error") or {})
        else:
            self._failures = 0
        if output and output[-1].get("type") == "mcp_call" and not self._others_act:
            # Some models stay silent after a hosted tool (reference 6.6).
            yield from self._floor.respond(only_if_silent=not self._floor.taken)
        yield from self._tool_calls.response_done(response_id)
        yield from self._floor.ask()

    def _on_output_item_done(self, event: Event) -> Iterator[Action]:
        item = event.get("item") or {}
        if item.get("type") == "function_call":
            _id_of(item, "call_id")
        yield from self._tool_calls.collect(item, _response_id(event.get("response_id")))

    def _on_item_added(self, event: Event) -> Iterator[Action]:
        item = event.get("item") or {}
        if item.get("id") is not None and (item_id := _id_of(item, "id")) not in self._order:
            self.items += 1
            if item.get("type") == "message":  # nothing else is ever said
                self._order[item_id] = self.items
                if len(self._order) > MOST_ORDERS:
                    del self._order[next(iter(self._order))]
        if item.get("role") == "user":
            self._hear(item.get("id"))
        yield from self._on_item(event)

    def _on_item(self, event: Event) -> Iterator[Action]:
        item = event.get("item") or {}
        if item.get("type") == "mcp_approval_request" and (item_id := _id_of(item, "id")) not in self._approvals:
            self._approvals.add(item_id)
            yield McpApprovalRequest(
                item_id, item.get("server_label", ""), item.get("name", ""), item.get("arguments", "")
            )
        yield from self._tool_calls.shown(item)

    def _on_speech_started(self, _event: Event) -> Iterator[Action]:
        self.caller_speaking = True
        self._hear()
        yield from ()

    def _on_committed(self, event: Event) -> Iterator[Action]:
        self._hear(event.get("item_id"))
        yield from ()

    def _on_key(self, event: Event) -> Iterator[Action]:
        self._hear()
        yield DtmfReceived(str(event.get("event")))

    def _on_idle(self, event: Event) -> Iterator[Action]:
        self._silent_item = event.get("item_id")
        yield Idle()

    def _on_playing(self, _event: Event) -> Iterator[Action]:
        self.playing = True
        yield from ()

    def _on_played(self, event: Event) -> Iterator[Action]:
        self.playing = False
        yield PlaybackEnded(_response_id(event.get("response_id")))

    def _on_delta(self, event: Event) -> Iterator[Action]:
        if self.watch_every:
            item_id = _id_of(event)
            pieces = self._saying.setdefault(item_id, [])
            if not pieces:
                self._reported = 0
            pieces.append(event.get("delta") or "")
            text = "".join(pieces)
            if len(text) - self._reported >= self.watch_every:
                self._reported = len(text)
                yield TranscriptDelta(item_id, text)

    def _on_speech_stopped(self, _event: Event) -> Iterator[Action]:
        self.caller_speaking = False
        yield from ()

    def _on_caller_said(self, event: Event) -> Iterator[Action]:
        if usage := event.get("usage"):
            yield TranscriptionBilled(usage)
        yield from self._said(event, "caller")

    def _on_not_transcribed(self, event: Event) -> Iterator[Action]:
        error = event.get("error") or {}
        yield NotTranscribed(_id_of(event), error.get("code") or error.get("type") or "unknown")

    def _on_agent_said(self, event: Event) -> Iterator[Action]:
        yield from self._said(event, "agent")

    def _on_error(self, event: Event) -> Iterator[Action]:
        error = event.get("error") or {}
        code, cause = error.get("code"), error.get("event_id") or ""
        if code == "session_expired":
            yield SessionExpired()
        elif cause.startswith(ASK_PREFIX):
            yield OutOfBandAnswer(cause, None)
        elif code == "conversation_already_has_active_response":
            self._floor.another_is_active()
        else:
            yield from self._tool_calls.refused(cause, code)
            yield from self._floor.refused(cause)

    # Parts of the above.

    def _hear(self, item_id: object = None) -> None:
        """The caller takes part, unless this is the silence that a time-out has made an item of."""
        if item_id is None or item_id != self._silent_item:
            self.caller_heard = True
            self._tool_calls.caller_spoke()

    def _said(self, event: Event, role: Literal["caller", "agent"]) -> Iterator[Action]:
        item_id = _id_of(event)
        if text := event.get("transcript") or event.get("text"):
            if not isinstance(text, str):
                raise TypeError("what was said is not text")
            yield Transcribed(item_id, role, text, self._order.pop(item_id, self.items))

    def _failed(self, error: Event) -> Iterator[Action]:
        """A response failed (reference 3.7): ask again, a few times, unless that can't help."""
        self._failures += 1
        code = error.get("code") or error.get("type") or "unknown"
        yield ResponseFailed(code, again=self._failures <= MOST_FAILURES and code not in _FATAL)

    _HANDLERS: ClassVar[dict[str, Callable[[Conversation, Event], Iterator[Action]]]] = {
        "response.created": _on_response_created,
        "response.done": _on_response_done,
        "response.output_item.done": _on_output_item_done,
        "conversation.item.added": _on_item_added,
        "conversation.item.done": _on_item,
        "conversation.item.retrieved": _on_item,
        "conversation.item.input_audio_transcription.completed": _on_caller_said,
        "input_audio_buffer.committed": _on_committed,
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


def _id_of(event: Event, name: str = "item_id") -> str:
    """An id in an event; nothing can be kept or answered under anything but a non-empty text."""
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} is not an id")
    return value


def _response_id(value: object) -> str:
    """A response's id; one without still begins and ends, and leaving that out would block the floor."""
    return value if isinstance(value, str) and value else UNKNOWN_RESPONSE


def _text_of(output: Sequence[Event]) -> str:
    """The text in a response's output."""
    parts = [part for item in output for part in item.get("content") or ()]
    return "".join(part.get("text") or part.get("transcript") or "" for part in parts)
