"""The conversation of one call, without I/O: server events in, actions out.

Two parts decide what must never be decided in two places: `responses` which response is active, requested or queued,
`tool_calls` which tool runs and which output was sent. This module takes each kind of event apart, and passes it to
them or reports it: the transcript, the bill, DTMF, and what the caller hears. Nothing here holds a socket or reads a
clock, so that every order of events can be tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

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
from supervisor.conversation.realtime.tool_calls import ToolCalls, output_item_id
from supervisor.errors import EventError

_ASK = "sideband_ask"  # in the metadata of out-of-band responses
ASK_PREFIX = "ask_"
"""Begins each key that `Conversation.ask` is given."""

_DELTAS = {"response.output_audio_transcript.delta", "response.output_text.delta"}
_SIGNS_OF_LIFE = {"response.created", "input_audio_buffer.speech_started", *_DELTAS}

MOST_PLACES = 32
"""How many items without a transcript have their place in the conversation remembered."""
MOST_FAILURES = 2
"""How many failed responses in a row are requested again."""
_FATAL = {"insufficient_quota", "invalid_api_key", "account_deactivated", "billing_hard_limit_reached"}


@dataclass(slots=True)
class Conversation:
    """One call's conversation.

    Feed it every event, and do what it returns, in order.
    """

    epoch: int = 0
    """Which owner of the call this is, as its record counts them."""
    caller_speaking: bool = False
    caller_heard: bool = False
    """Whether the caller has said, typed or pressed anything since we own the call."""
    playing: bool = False
    """Whether the caller hears the model now."""
    alive: bool = False
    """Whether anybody has said anything since the last attach."""
    items: int = 0
    """How many items the conversation has had; set it to an earlier owner's count."""
    watch_every: int = 0
    """Report what the model is saying each time it has grown by so many characters; 0 means never."""
    responses: ResponseQueue = field(init=False)
    tool_calls: ToolCalls = field(init=False)
    _places: dict[str, int] = field(default_factory=dict)
    """Of messages in the conversation, by item id."""
    _deltas: dict[str, list[str]] = field(default_factory=dict)
    """What the model is saying, in pieces, by item id."""
    _reported: int = 0
    """How many characters of it were last reported."""
    _failures: int = 0
    _silent_item: object = None
    """Id of the item that OpenAI made of the caller's silence."""
    _approvals: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.responses = ResponseQueue(epoch=self.epoch)
        self.tool_calls = ToolCalls(self.responses)

    def reads(self, type_: str) -> bool:
        """Tell whether events of a type may change anything now.

        Others need not be fed to `receive`.
        """
        if type_ in _DELTAS:
            return self.watch_every > 0 or not self.alive
        return type_ in self._HANDLERS

    def receive(self, event: Event) -> list[Action]:
        """Take one server event; return what to do now.

        Unknown events and fields change nothing.

        Raises:
            EventError: the event's parts are not of the shape that OpenAI documents; the call can go on without it.
        """
        try:
            handler = self._HANDLERS.get(event["type"])
            self.alive = self.alive or event["type"] in _SIGNS_OF_LIFE
            return list(handler(self, event)) if handler else []
        except (AttributeError, KeyError, TypeError) as error:
            raise EventError(f"an event of type {event.get('type')!r} has an unexpected shape") from error

    def break_silence(self) -> list[Send]:
        """Ask the model to continue, unless something is going on."""
        return [] if self.busy else self.responses.add(optional=True)

    def ask(self, key: str, instructions: str) -> list[Send]:
        """Ask the model something that the caller does not hear (openai-realtime.md#response-options).

        Args:
            key: of the `OutOfBandAnswer` that comes back; it begins with `ASK_PREFIX`.
            instructions: the question.
        """
        event = {"type": "response.create", "event_id": key}
        response = {"conversation": "none", "output_modalities": ["text"], "metadata": {_ASK: key}}
        return [Send({**event, "response": {**response, "instructions": instructions}})]

    def interrupt(self) -> list[Send]:
        """Stop what is being said, and drop what waits.

        Cancel comes first, then what has not been played is thrown away (openai-realtime.md#interrupting). The model is
        still to speak of a tool's output that it has not spoken of.
        """
        actions: list[Send] = []
        if self.responses.active is not None:
            actions.append(Send(self.responses.new_event("response.cancel")))
        if self.responses.active is not None or self.playing:
            actions.append(Send(self.responses.new_event("output_audio_buffer.clear")))
        self.responses.drop_instructed()
        return actions

    def approved(self, request_id: str, *, approve: bool) -> list[Send]:
        """Answer an approval request of a hosted MCP tool (openai-realtime.md#hosted-mcp-tools)."""
        event = self.responses.new_event("conversation.item.create")
        item = {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve}
        event["item"] = {"id": output_item_id(request_id), **item}
        return [Send(event)]

    @property
    def busy(self) -> bool:
        """Whether the model or the caller speaks, or a tool runs."""
        return self.responses.busy or self._others_act

    @property
    def speaking(self) -> bool:
        """Whether the model speaks, or is about to."""
        return self.responses.busy or self.playing

    def attached(self) -> list[Send]:
        """Start on a new sideband: look up outputs, request responses.

        No event is replayed after an attach (openai-realtime.md#no-replay), so what was active is unknown. If a
        response is, the error to our next `response.create` says so.
        """
        self.caller_speaking = self.playing = self.alive = False
        self.responses.on_attached()
        return [*self.tool_calls.on_attached(), *self.responses.request_next()]

    @property
    def _others_act(self) -> bool:
        """Whether the caller speaks or a tool runs."""
        return self.caller_speaking or self.tool_calls.running

    # What each kind of event does.

    def _on_response_created(self, event: Event) -> Iterator[Action]:
        response = event.get("response") or {}
        metadata = response.get("metadata") or {}
        if _ASK in metadata:
            return
        response_id = _response_id(response.get("id"))
        self.responses.on_created(response_id, metadata, has_seen_all=self.tool_calls.all_shown)
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
        self.responses.on_done(metadata)
        for item in output:
            yield from self.tool_calls.on_item(item, response_id)
        self._deltas.clear()
        self.tool_calls.forget_confirmed(but={id_ for item in output if isinstance(id_ := item.get("call_id"), str)})
        if response.get("status") == "failed":
            yield from self._failed((response.get("status_details") or {}).get("error") or {})
        else:
            self._failures = 0
        if output and output[-1].get("type") == "mcp_call" and not self._others_act:
            # Some models stay silent after a hosted tool (openai-realtime.md#hosted-mcp-tools).
            yield from self.responses.add(optional=not self.responses.busy)
        yield from self.tool_calls.on_response_done(response_id)
        yield from self.responses.request_next()

    def _on_output_item_done(self, event: Event) -> Iterator[Action]:
        item = event.get("item") or {}
        if item.get("type") == "function_call":
            _id_of(item, "call_id")
        yield from self.tool_calls.on_item(item, _response_id(event.get("response_id")))

    def _on_item_added(self, event: Event) -> Iterator[Action]:
        item = event.get("item") or {}
        if item.get("id") is not None and (item_id := _id_of(item, "id")) not in self._places:
            self.items += 1
            if item.get("type") == "message":  # nothing else is ever said
                self._places[item_id] = self.items
                if len(self._places) > MOST_PLACES:
                    del self._places[next(iter(self._places))]
        if item.get("role") == "user":
            self._note_caller(item.get("id"))
        yield from self._on_item(event)

    def _on_item(self, event: Event) -> Iterator[Action]:
        item = event.get("item") or {}
        if item.get("type") == "mcp_approval_request" and (item_id := _id_of(item, "id")) not in self._approvals:
            self._approvals.add(item_id)
            yield McpApprovalRequest(
                item_id, item.get("server_label", ""), item.get("name", ""), item.get("arguments", "")
            )
        yield from self.tool_calls.on_shown(item)

    def _on_speech_started(self, _event: Event) -> Iterator[Action]:
        self.caller_speaking = True
        self._note_caller()
        yield from ()

    def _on_committed(self, event: Event) -> Iterator[Action]:
        self._note_caller(event.get("item_id"))
        yield from ()

    def _on_dtmf(self, event: Event) -> Iterator[Action]:
        self._note_caller()
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
            pieces = self._deltas.setdefault(item_id, [])
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
            self.responses.on_already_active()
        else:
            yield from self.tool_calls.on_error(cause, code)
            yield from self.responses.on_error(cause)

    # Parts of the above.

    def _note_caller(self, item_id: object = None) -> None:
        """Note that the caller takes part.

        The item that an idle time-out makes of silence does not count.
        """
        if item_id is None or item_id != self._silent_item:
            self.caller_heard = True
            self.tool_calls.on_caller()

    def _said(self, event: Event, role: Literal["caller", "agent"]) -> Iterator[Action]:
        item_id = _id_of(event)
        if text := event.get("transcript") or event.get("text"):
            if not isinstance(text, str):
                raise TypeError("what was said is not text")
            yield Transcribed(item_id, role, text, self._places.pop(item_id, self.items))

    def _failed(self, error: Event) -> Iterator[Action]:
        """Report a failed response, and whether to request it again.

        A few times in a row, and not where that can't help (openai-realtime.md#failed-responses).
        """
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
        "input_audio_buffer.dtmf_event_received": _on_dtmf,
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
    """Return an id in an event, a non-empty text.

    Nothing can be kept or answered under anything else.
    """
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} is not an id")
    return value


def _response_id(value: object) -> str:
    """Return a response's id, or `UNKNOWN_RESPONSE`.

    One without an id still begins and ends; were it left out, the queue would wait for ever.
    """
    return value if isinstance(value, str) and value else UNKNOWN_RESPONSE


def _text_of(output: Sequence[Event]) -> str:
    """Return the text in a response's output."""
    parts = [part for item in output for part in item.get("content") or ()]
    return "".join(part.get("text") or part.get("transcript") or "" for part in parts)
