"""The conversation of one call as OpenAI keeps it: session, items, the one active response, and the rules between them.

Sans-I/O. Client events go in by `receive`; server events come out through `send`; what takes time is a generator that
is handed to `perform`, which runs it to its first yield at once, and then waits as many milliseconds of life as each
yield says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from emulator.openai.calls.script import Mcp, McpCall, Model, Part, Script
from emulator.openai.errors import ApiError
from emulator.openai.ids import new_id
from emulator.openai.realtime.history import History, Item, with_audio, without_transcript
from emulator.openai.realtime.input_audio import InputAudio
from emulator.openai.realtime.items import check_item, text_of
from emulator.openai.realtime.response import Response
from emulator.openai.realtime.session import ResponseRequest, Session, check_response, update_session
from emulator.openai.realtime.usage import Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from emulator.openai.options import Options

_LISTING_MS = 300
_MAX_EVENT_ID = 512


class Perform(Protocol):
    """Gives time to what takes time."""

    def __call__(self, play: Generator[float, None, None], /) -> None:
        """Run a play to its first yield at once, then on as its time passes."""


class Conversation:
    """One call's session and conversation."""

    def __init__(
        self,
        session: Session,
        script: Script,
        options: Options,
        *,
        send: Callable[[dict[str, Any]], None],
        perform: Perform,
        note: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.id = new_id("conv")
        self.session = session
        self.options = options
        self.perform = perform
        self.active: Response | None = None
        """The one response that writes to this conversation now."""
        self.playing: list[Response] = []
        """Responses whose audio is being heard."""
        self.pending_outputs: set[str] = set()
        """Tool call ids without an output."""
        self.approvals: dict[str, McpCall] = {}
        self.responses_started = 0
        self.responses_ended = 0
        self.history = History()
        self.meter = Meter()
        self.input_audio = InputAudio(self)
        self._script = script
        self._send = send
        self._note = note
        self._asides: dict[str, Response] = {}
        self._answered: set[str] = set()
        self._fresh_outputs: list[str] = []
        self._approved: list[Part] = []
        self._has_spoken = False
        self._listed_servers: set[str] = set()
        self._on: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "session.update": self._session_update,
            "conversation.item.create": self._item_create,
            "conversation.item.retrieve": self._item_retrieve,
            "conversation.item.truncate": self._item_truncate,
            "conversation.item.delete": self._item_delete,
            "response.create": self._response_create,
            "response.cancel": self._response_cancel,
            "input_audio_buffer.append": self._audio_append,
            "input_audio_buffer.commit": self._audio_commit,
            "input_audio_buffer.clear": self._audio_clear,
            "output_audio_buffer.clear": self._output_clear,
        }

    @property
    def owes_answer(self) -> bool:
        """Whether the caller, or a tool, has said something to which no response has come yet."""
        return self.input_audio.unanswered or bool(self._fresh_outputs)

    # What comes from a client

    def receive(self, event: object) -> None:
        """Act on a client event. What is wrong with it is answered by an `error` event; the session goes on."""
        event_id = event.get("event_id") if isinstance(event, dict) else None
        try:
            self._handler(event)(event if isinstance(event, dict) else {})
        except ApiError as error:
            self.emit("error", error={**error.fields(), "event_id": event_id if isinstance(event_id, str) else None})

    def _handler(self, event: object) -> Callable[[Mapping[str, Any]], None]:
        if not isinstance(event, dict):
            raise ApiError("The event is not a JSON object.", code="invalid_json")
        event_id = event.get("event_id")
        if event_id is not None and not (isinstance(event_id, str) and len(event_id) <= _MAX_EVENT_ID):
            raise ApiError(
                f"'event_id' must be a string of at most {_MAX_EVENT_ID} characters.",
                code="invalid_value",
                param="event_id",
            )
        kind = event.get("type")
        if kind is None:
            raise ApiError("Missing required parameter: 'type'.", code="missing_required_parameter", param="type")
        if not isinstance(kind, str) or kind not in self._on:
            supported = ", ".join(f"'{name}'" for name in self._on)
            raise ApiError(
                f"Invalid value: {kind!r}. Supported values are: {supported}.", code="invalid_value", param="type"
            )
        return self._on[kind]

    def _session_update(self, event: Mapping[str, Any]) -> None:
        if "session" not in event:
            raise ApiError("Missing required parameter: 'session'.", code="missing_required_parameter", param="session")
        self.session = update_session(self.session, event["session"], has_spoken=self._has_spoken)
        self.emit("session.updated", session=self.session)
        self.list_mcp_tools()

    def _item_create(self, event: Mapping[str, Any]) -> None:
        item = check_item(event.get("item"))
        item.setdefault("id", new_id("item"))
        if item["id"] in self.history:
            raise ApiError(
                f"Error adding item: an item with id '{item['id']}' already exists in the conversation.",
                code="item_create_duplicate_item_id",
                param="item.id",
            )
        after = event.get("previous_item_id")
        if after not in (None, "root") and after not in self.history:
            raise ApiError(
                f"Error adding item: the previous item with id '{after}' does not exist.",
                code="item_create_invalid_previous_item_id",
                param="previous_item_id",
            )
        self.keep(item, after=after)
        self.finish(item)
        self.meter.read(text_of(item))
        if item["type"] == "function_call_output":
            self._output_arrives(item)
        elif item["type"] == "mcp_approval_response":
            self._approval_arrives(item)

    def _output_arrives(self, item: Item) -> None:
        call_id = item["call_id"]
        if call_id in self._answered:
            self._note("duplicate_tool_output", item)
        elif call_id not in self.pending_outputs:
            self._note("unknown_tool_call", item)
        self.pending_outputs.discard(call_id)
        self._answered.add(call_id)
        self._fresh_outputs.append(item["output"])

    def _approval_arrives(self, item: Item) -> None:
        call = self.approvals.pop(item["approval_request_id"], None)
        if call is None:
            self._note("unknown_approval_request", item)
        elif item["approve"]:
            approved = call.model_copy(update={"approval": False, "approved": item["approval_request_id"]})
            self._approved.append(Mcp(mcp=approved))
            self._go_on_after_approval()

    def _item_retrieve(self, event: Mapping[str, Any]) -> None:
        item = self._known_item(event, "retrieve")
        self.emit("conversation.item.retrieved", item=with_audio(item))

    def _item_truncate(self, event: Mapping[str, Any]) -> None:
        item = self._known_item(event, "truncate")
        if item["type"] != "message" or item["role"] != "assistant":
            raise ApiError("Only model output audio messages can be truncated.", code="invalid_value", param="item_id")
        end, index = event.get("audio_end_ms"), event.get("content_index", 0)
        if not isinstance(end, int) or end < 0:
            raise ApiError("Missing or invalid 'audio_end_ms'.", code="invalid_value", param="audio_end_ms")
        self.truncate(item["id"], index if isinstance(index, int) else 0, end)

    def _item_delete(self, event: Mapping[str, Any]) -> None:
        item_id = self._known_item(event, "delete")["id"]
        self.history.delete(item_id)
        self.emit("conversation.item.deleted", item_id=item_id)

    def _known_item(self, event: Mapping[str, Any], verb: str) -> Item:
        item_id = event.get("item_id")
        if isinstance(item_id, str) and item_id in self.history:
            return self.history[item_id]
        raise ApiError(
            f"Item with id '{item_id}' not found in the conversation.",
            code=f"item_{verb}_invalid_item_id",
            param="item_id",
        )

    def _response_create(self, event: Mapping[str, Any]) -> None:
        self.respond(check_response(event.get("response") or {}))

    def _response_cancel(self, event: Mapping[str, Any]) -> None:
        wanted = event.get("response_id")
        response = self.active if wanted is None else self._asides.get(str(wanted))
        if response is None and self.active and self.active.id == wanted:
            response = self.active
        if response is None:
            raise ApiError("Cancellation failed: no active response found", code="response_cancel_not_active")
        response.cut("client_cancelled")

    def _audio_append(self, event: Mapping[str, Any]) -> None:
        if not isinstance(event.get("audio"), str):
            raise ApiError("Missing required parameter: 'audio'.", code="missing_required_parameter", param="audio")
        self._note("audio_append", {})

    def _audio_commit(self, _: Mapping[str, Any]) -> None:
        self.input_audio.commit()

    def _audio_clear(self, _: Mapping[str, Any]) -> None:
        self.input_audio.clear()

    def _output_clear(self, _: Mapping[str, Any]) -> None:
        self._silence()

    # What the model does

    def respond(self, request: ResponseRequest | None = None) -> None:
        """Start a response: asked for by a client, or by turn detection.

        Raises:
            ApiError: one is active already, and this one would write to the same conversation (6.4).
        """
        wish = request or ResponseRequest()
        aside = wish.conversation == "none"
        if self.active and not aside:
            raise ApiError(
                f"Conversation already has an active response in progress: {self.active.id}. "
                "Wait until the response is finished before creating a new one.",
                code="conversation_already_has_active_response",
            )
        tool_choice = wish.tool_choice or self.session["tool_choice"]
        self._start(
            [Model(model=self.options.out_of_band_text)] if aside else self._turn(tools_allowed=tool_choice != "none"),
            wish,
        )

    def _turn(self, *, tools_allowed: bool) -> list[Part]:
        taken = self._script.take_turn(tools_allowed=tools_allowed, speaks_after_mcp=self.options.speaks_after_mcp)
        return taken or [Model(model=self._improvised())]

    def _improvised(self) -> str:
        """What the model says where the script has nothing for it."""
        if self._fresh_outputs:
            return f"Here is what I found: {' '.join(self._fresh_outputs)}"
        if self.responses_started == 0:
            return "Hello, how can I help you?"
        last_words = self.input_audio.last_words
        return f"You said: {last_words}" if last_words else "Are you still there?"

    def _start(self, parts: list[Part], wish: ResponseRequest) -> None:
        aside = wish.conversation == "none"
        response = Response(
            self,
            parts,
            modality=(wish.output_modalities or self.session["output_modalities"])[0],
            aside=aside,
            metadata=wish.metadata,
            max_output_tokens=wish.max_output_tokens or self.session["max_output_tokens"],
        )
        if aside:
            self._asides[response.id] = response
        else:
            self.active = response
            self.responses_started += 1
            self._fresh_outputs.clear()
            self.input_audio.break_silence()
        response.start()

    def _go_on_after_approval(self) -> None:
        if self._approved and not self.active:
            parts, self._approved = self._approved, []
            if self.options.speaks_after_mcp:
                parts += self._turn(tools_allowed=False)
            self._start(parts, ResponseRequest())

    def response_ends(self, response: Response) -> None:
        """A response stops writing; its `response.done` is next."""
        if response.aside:
            del self._asides[response.id]
        else:
            self.active = None
            self.input_audio.unanswered = False
            self.responses_ended += 1

    def response_ended(self, response: Response) -> None:
        """A response has said all that it has to say."""
        if not response.aside:
            self._has_spoken = True
            self._go_on_after_approval()

    def interrupt(self) -> None:
        """The caller speaks over the model: what is being written is cancelled, what is being heard is cleared."""
        if self.active:
            self.active.cut("turn_detected")
        self._silence()

    def _silence(self) -> None:
        for response in tuple(self.playing):
            response.silence()

    def expect_output(self, call_id: str) -> None:
        """The model has called a function and waits for its output."""
        self.pending_outputs.add(call_id)

    def bill(self, written: str, spoken_ms: float) -> dict[str, Any]:
        """The usage of a response that wrote and spoke so much."""
        return self.meter.bill(f"{self.session['instructions']}{self.session['tools']}", written, spoken_ms)

    # What both write to

    def keep(self, item: Item, after: str | None = None) -> None:
        """Add an item to the conversation: at its end, after another, or first (`root`)."""
        self.history.insert(item, after)
        previous = self.history.previous_id(item["id"])
        self.emit("conversation.item.added", previous_item_id=previous, item=item)

    def finish(self, item: Item) -> None:
        """An item of the conversation has its final content (unless a client has deleted it meanwhile)."""
        if item["id"] in self.history:
            self.history.replace(item)
            previous = self.history.previous_id(item["id"])
            self.emit("conversation.item.done", previous_item_id=previous, item=item)

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Forget what of an item was not heard."""
        if item_id in self.history:
            self.history.replace(without_transcript(self.history[item_id]))
            place = {"item_id": item_id, "content_index": content_index}
            self.emit("conversation.item.truncated", **place, audio_end_ms=audio_end_ms)

    def press(self, key: str, now_unix_seconds: int) -> None:
        """The caller presses a key. The event has no `event_id` (reference 4.2)."""
        self._send({"type": "input_audio_buffer.dtmf_event_received", "event": key, "received_at": now_unix_seconds})

    def list_mcp_tools(self) -> None:
        """Ask the session's hosted MCP servers for their tools, each once."""
        for tool in self.session["tools"]:
            if tool["type"] == "mcp" and tool["server_label"] not in self._listed_servers:
                self._listed_servers.add(tool["server_label"])
                self.perform(self._list_tools(tool["server_label"]))

    def _list_tools(self, label: str) -> Generator[float, None, None]:
        tools = self.options.mcp_servers.get(label, [])
        item: Item = {"id": new_id("mcpl"), "type": "mcp_list_tools", "server_label": label, "tools": tools or []}
        self.emit("mcp_list_tools.in_progress", item_id=item["id"])
        yield _LISTING_MS
        if tools is None:
            self.emit("mcp_list_tools.failed", item_id=item["id"])
            return
        self.keep(item)
        self.emit("mcp_list_tools.completed", item_id=item["id"])
        self.finish(item)

    def expire(self) -> None:
        """The session has reached its limit (reference 3.6)."""
        error = ApiError("Your session hit the maximum duration of 60 minutes.", code="session_expired")
        self.emit("error", error={**error.fields(), "event_id": None})

    def emit_rate_limits(self) -> None:
        """Say how much of the rate limit is left."""
        limit = {
            "name": "tokens",
            "limit": 15_000_000,
            "remaining": 15_000_000 - self.meter.billed_tokens,
            "reset_seconds": 0.0,
        }
        self.emit("rate_limits.updated", rate_limits=[limit])

    def send_raw(self, event: dict[str, Any]) -> None:
        """Send an event just as it is."""
        self._send(event)

    def emit(self, type: str, /, **fields: Any) -> None:  # noqa: A002 - the event's own word
        """Send a server event."""
        event = {"type": type, "event_id": new_id("event"), **fields}
        if self.options.novelties:
            event["x_novelty"] = {"since": "tomorrow"}
        self._send(event)
