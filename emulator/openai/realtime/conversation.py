"""One call's conversation as OpenAI keeps it: the rules between its parts.

Sans-I/O. Client events go in by `receive`; server events come out through `send`; what takes time is a *play*, a
generator that is handed to `perform`, which runs it to its first yield at once, and then waits as many milliseconds of
life as each yield says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emulator.openai.errors import ApiError
from emulator.openai.ids import new_id
from emulator.openai.realtime.context import Context
from emulator.openai.realtime.events import emitter
from emulator.openai.realtime.input_audio import InputAudio
from emulator.openai.realtime.items import History, check_item, text_of, with_audio
from emulator.openai.realtime.response import Response
from emulator.openai.realtime.session import ResponseRequest, Session, check_response, update_session
from emulator.openai.realtime.tool_calls import ToolCalls
from emulator.openai.realtime.usage import Meter, spoken_ms
from emulator.openai.script import Model, Part, Script

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from emulator.openai.options import Options
    from emulator.openai.realtime.context import Perform
    from emulator.openai.realtime.items import Item

_LISTING_MS = 300
_MAX_EVENT_ID = 512
_SEMANTIC_VAD_MS = 200  # how long the caller is silent before semantic VAD ends a turn


class Conversation:
    """One call's session and conversation.

    Args:
        session: The session at the start.
        script: What the model says.
        options: How this OpenAI behaves.
        send: Sends a server event.
        perform: Gives time to a play.
        note: Called with what is odd and OpenAI lets pass, for the log.
    """

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
        self._emit = emitter(send, options)
        self.history = History(self._emit)
        self.responses_started = 0
        self.responses_ended = 0
        self._tool_calls = ToolCalls(note)
        self._context = Context(
            new_id("conv"), session, options, self._emit, perform, self.history, self._tool_calls, Meter()
        )
        self._input_audio = InputAudio(self._context)
        self._responses: list[Response] = []
        """Those that write or are heard; the others are forgotten when a new one begins."""
        self._script = script
        self._send = send
        self._note = note
        self._has_spoken = False
        self._silences = 0
        """How often somebody began to speak, to know whether a silence has lasted."""
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
            "input_audio_buffer.commit": lambda _: self._input_audio.commit(),
            "input_audio_buffer.clear": lambda _: self._input_audio.clear(),
            "output_audio_buffer.clear": lambda _: self._clear_audio(),
        }

    @property
    def session(self) -> Session:
        """The session as it is now."""
        return self._context.session

    @property
    def active(self) -> Response | None:
        """The one response that writes to this conversation now."""
        return next((it for it in self._responses if it.writing and not it.out_of_band), None)

    @property
    def playing(self) -> list[Response]:
        """Responses whose audio is being heard."""
        return [response for response in self._responses if response.playing]

    @property
    def pending_outputs(self) -> set[str]:
        """The ids of tool calls without an output."""
        return self._tool_calls.pending

    @property
    def owes_answer(self) -> bool:
        """Whether a turn of the caller, or an output, has had no response yet."""
        return self._input_audio.unanswered or bool(self._tool_calls.fresh_outputs)

    # What comes from a client

    def receive(self, event: object) -> None:
        """Act on a client event; a wrong one gets an `error` event."""
        event_id = event.get("event_id") if isinstance(event, dict) else None
        try:
            self._handler(event)(event if isinstance(event, dict) else {})
        except ApiError as error:
            self._emit("error", error={**error.as_dict(), "event_id": event_id if isinstance(event_id, str) else None})

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
        self._context.session = update_session(self.session, event["session"], has_spoken=self._has_spoken)
        self._emit("session.updated", session=self.session)
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
        self.history.add(item, after=after)
        self.history.finish(item)
        self._context.meter.read(text_of(item))
        if item["type"] == "function_call_output":
            self._tool_calls.add_output(item)
        elif item["type"] == "mcp_approval_response":
            self._tool_calls.add_approval(item)
            self._go_on_after_approval()

    def _item_retrieve(self, event: Mapping[str, Any]) -> None:
        item = self._known_item(event, "retrieve")
        self._emit("conversation.item.retrieved", item=with_audio(item))

    def _item_truncate(self, event: Mapping[str, Any]) -> None:
        item = self._known_item(event, "truncate")
        if item["type"] != "message" or item["role"] != "assistant":
            raise ApiError("Only model output audio messages can be truncated.", code="invalid_value", param="item_id")
        end, index = event.get("audio_end_ms"), event.get("content_index", 0)
        if not isinstance(end, int) or end < 0:
            raise ApiError("Missing or invalid 'audio_end_ms'.", code="invalid_value", param="audio_end_ms")
        self.history.truncate(item["id"], index if isinstance(index, int) else 0, end)

    def _item_delete(self, event: Mapping[str, Any]) -> None:
        self.history.delete(self._known_item(event, "delete")["id"])

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
        response = self.active
        if wanted is not None:
            response = next((it for it in self._responses if it.writing and it.id == wanted), None)
        if response is None:
            raise ApiError("Cancellation failed: no active response found", code="response_cancel_not_active")
        response.cancel("client_cancelled")

    def _audio_append(self, event: Mapping[str, Any]) -> None:
        if not isinstance(event.get("audio"), str):
            raise ApiError("Missing required parameter: 'audio'.", code="missing_required_parameter", param="audio")
        self._note("audio_append", {})

    # What the caller does

    def hear(self, text: str, transcription: str = "completed") -> Generator[float, None, None]:
        """Play the caller's speech, and what turn detection makes of it."""
        self._silences += 1
        length_ms = spoken_ms(text)
        if not self._turn_detection:
            yield length_ms
            self._input_audio.append(text)
            return
        item_id = self._input_audio.start_speech()
        if self._turn_detection["interrupt_response"]:
            self._interrupt()
        yield length_ms + self._turn_detection.get("silence_duration_ms", _SEMANTIC_VAD_MS)
        self._input_audio.stop_speech(item_id, length_ms)
        self._input_audio.add_turn(text, transcription, item_id)
        if self._turn_detection.get("create_response") and not self.active:
            self.respond()

    @property
    def _turn_detection(self) -> dict[str, Any]:
        """The session's turn detection; empty, if there is none."""
        detection: dict[str, Any] | None = self.session["audio"]["input"]["turn_detection"]
        return detection or {}

    def _interrupt(self) -> None:
        """Cancel what the model writes, and clear what is heard."""
        if self.active:
            self.active.cancel("turn_detected")
        self._clear_audio()

    def _clear_audio(self) -> None:
        for response in self.playing:
            response.clear_audio()

    def _await_caller(self) -> None:
        """Speak to a caller who stays silent, if the session says so."""
        if idle_ms := self._turn_detection.get("idle_timeout_ms"):
            self._context.perform(self._time_out(idle_ms, self._silences))

    def _time_out(self, idle_ms: int, silences: int) -> Generator[float, None, None]:
        yield idle_ms
        if silences == self._silences and not self.active:
            self._input_audio.time_out(idle_ms)
            self.respond()

    def press(self, key: str, now_unix_seconds: int) -> None:
        """Send the caller's key. The event has no `event_id` (openai-realtime.md#key-presses)."""
        self._send({"type": "input_audio_buffer.dtmf_event_received", "event": key, "received_at": now_unix_seconds})

    # What the model does

    def respond(self, request: ResponseRequest | None = None) -> None:
        """Start a response.

        Raises:
            ApiError: one is active already, and this one would write to the same conversation
                (openai-realtime.md#one-active-response).
        """
        request = request or ResponseRequest()
        out_of_band = request.conversation == "none"
        if self.active and not out_of_band:
            raise ApiError(
                f"Conversation already has an active response in progress: {self.active.id}. "
                "Wait until the response is finished before creating a new one.",
                code="conversation_already_has_active_response",
            )
        tool_choice = request.tool_choice or self.session["tool_choice"]
        if out_of_band:
            self._start([Model(model=self._context.options.out_of_band_text)], request)
        else:
            self._start(self._next_parts(tools_allowed=tool_choice != "none"), request)

    def _next_parts(self, *, tools_allowed: bool) -> list[Part]:
        """Take the script's next parts for the model, or improvise."""
        speaks_after_mcp = self._context.options.speaks_after_mcp
        parts = self._script.take_turn(tools_allowed=tools_allowed, speaks_after_mcp=speaks_after_mcp)
        return parts or [Model(model=self._improvised())]

    def _improvised(self) -> str:
        if self._tool_calls.fresh_outputs:
            return f"Here is what I found: {' '.join(self._tool_calls.fresh_outputs)}"
        if self.responses_started == 0:
            return "Hello, how can I help you?"
        last_words = self._input_audio.last_words
        return f"You said: {last_words}" if last_words else "Are you still there?"

    def _start(self, parts: list[Part], request: ResponseRequest) -> None:
        response = Response(
            self._context, parts, request, on_written=self._response_written, on_heard=self._await_caller
        )
        self._responses = [it for it in self._responses if it.writing or it.playing]
        self._responses.append(response)
        if not response.out_of_band:
            self.responses_started += 1
            self._tool_calls.fresh_outputs.clear()
            self._silences += 1
        response.start()

    def _response_written(self, response: Response) -> None:
        """Send `response.done`, and go on with what waited for it."""
        if not response.out_of_band:
            self._input_audio.unanswered = False
            self._has_spoken = True
            self.responses_ended += 1
        self._emit("response.done", response=response.as_dict())
        if self._context.options.rate_limits == "after_done":
            self._emit("rate_limits.updated", rate_limits=self._context.meter.rate_limits())
        response.play_out()
        if not response.out_of_band:
            self._go_on_after_approval()

    def _go_on_after_approval(self) -> None:
        """Make the approved calls of hosted tools, unless a response is active."""
        if self.active:
            return
        parts: list[Part] = [*self._tool_calls.take_approved()]
        if parts and self._context.options.speaks_after_mcp:
            parts += self._next_parts(tools_allowed=False)
        if parts:
            self._start(parts, ResponseRequest())

    # What happens by itself

    def list_mcp_tools(self) -> None:
        """Ask the session's hosted MCP servers for their tools, each once."""
        for tool in self.session["tools"]:
            if tool["type"] == "mcp" and tool["server_label"] not in self._listed_servers:
                self._listed_servers.add(tool["server_label"])
                self._context.perform(self._list_tools(tool["server_label"]))

    def _list_tools(self, label: str) -> Generator[float, None, None]:
        tools = self._context.options.mcp_servers.get(label, [])
        item: Item = {"id": new_id("mcpl"), "type": "mcp_list_tools", "server_label": label, "tools": tools or []}
        self._emit("mcp_list_tools.in_progress", item_id=item["id"])
        yield _LISTING_MS
        if tools is None:
            self._emit("mcp_list_tools.failed", item_id=item["id"])
            return
        self.history.add(item)
        self._emit("mcp_list_tools.completed", item_id=item["id"])
        self.history.finish(item)

    def expire(self) -> None:
        """Send the error that comes at a session's limit (openai-realtime.md#session-limit)."""
        error = ApiError("Your session hit the maximum duration of 60 minutes.", code="session_expired")
        self._emit("error", error={**error.as_dict(), "event_id": None})

    def send_raw(self, event: dict[str, Any]) -> None:
        """Send an event just as it is."""
        self._send(event)
