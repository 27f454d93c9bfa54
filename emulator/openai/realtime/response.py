"""One response of the model, in the recorded order of events.

See openai-realtime.md#order-of-events, openai-realtime.md#function-calls, openai-realtime.md#barge-in and
openai-realtime.md#hosted-mcp-tools.

A response is *played*: generators send its events and yield, between them, how many milliseconds of real life pass;
whoever drives them decides how long that is. An `Interruption` is thrown into them, so that what was open is closed by
the same lines that close it in the ordinary case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from emulator.openai.ids import new_id
from emulator.openai.realtime.events import chunks, obfuscation, words
from emulator.openai.realtime.usage import spoken_ms
from emulator.openai.script import Fail, Mcp, McpCall, Model, Part, Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from emulator.openai.realtime.context import Context
    from emulator.openai.realtime.items import Item
    from emulator.openai.realtime.session import ResponseRequest

_THINKING_MS = 400
_GENERATED_MS_PER_CHARACTER = 12  # a model writes about five times faster than it is heard
_DELTAS_BEFORE_AUDIO = 12  # a short sentence is written before its audio starts, as recorded
_MCP_MS = 500


class Interruption(Exception):
    """Thrown into a play, to stop a response or its audio."""

    def __init__(self, reason: Literal["turn_detected", "client_cancelled", "cleared"]) -> None:
        super().__init__(reason)
        self.reason = reason


class Response:
    """One response, in the default conversation or out of band.

    Args:
        context: The conversation's.
        parts: What it says and which tools it calls.
        request: What was asked for.
        on_written: Called when it has stopped writing, before its `response.done`, which is the callee's to send.
        on_heard: Called when its audio has been heard to the end.
    """

    def __init__(
        self,
        context: Context,
        parts: Sequence[Part],
        request: ResponseRequest,
        *,
        on_written: Callable[[Response], None],
        on_heard: Callable[[], None],
    ) -> None:
        self.id = new_id("resp")
        self.out_of_band = request.conversation == "none"
        self.halfway = False
        """Whether about half of some part has been written: the moment to interrupt it."""
        self._context = context
        self._emit = context.emit
        self._parts = parts
        self._modality = (request.output_modalities or context.session["output_modalities"])[0]
        self._metadata = request.metadata
        self._max_output_tokens = request.max_output_tokens or context.session["max_output_tokens"]
        self._on_written = on_written
        self._on_heard = on_heard
        self._status = "in_progress"
        self._details: dict[str, Any] | None = None
        self._usage: dict[str, Any] | None = None
        self._output: list[Item] = []
        self._spoken: list[Item] = []
        self._audio_ms = 0.0
        self._played_ms = 0.0
        self._audio: Literal["unheard", "playing", "over"] = "unheard"
        self._written: list[str] = []
        self._writing = self._write()
        self._draining = self._drain()

    @property
    def writing(self) -> bool:
        """Whether its `response.done` is still to come."""
        return self._status == "in_progress"

    @property
    def playing(self) -> bool:
        """Whether its audio is being heard."""
        return self._audio == "playing"

    def start(self) -> None:
        """Begin to write: `response.created` is sent before this returns."""
        self._context.perform(self._writing)

    def play_out(self) -> None:
        """Play the rest of the audio, after `response.done`."""
        if self.playing:
            self._context.perform(self._draining)

    def cancel(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Stop writing: what is open is closed, and the status is `cancelled`."""
        _interrupt(self._writing, Interruption(reason))

    def clear_audio(self) -> None:
        """Clear the audio that is written but not yet heard."""
        if self.writing:
            self._audio_cleared()
        else:
            _interrupt(self._draining, Interruption("cleared"))

    def as_dict(self) -> dict[str, Any]:
        """Return the `response` object as it stands now."""
        output = self._context.session["audio"]["output"]
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self._status,
            "status_details": self._details,
            "output": list(self._output),
            "conversation_id": None if self.out_of_band else self._context.conversation_id,
            "output_modalities": [self._modality],
            "max_output_tokens": self._max_output_tokens,
            "audio": {"output": {"format": output["format"], "voice": output["voice"]}},
            "usage": self._usage,
            "metadata": self._metadata,
        }

    def _write(self) -> Generator[float, None, None]:
        self._emit("response.created", response=self.as_dict())
        if self._context.options.novelties:
            self._emit("response.novelty", response_id=self.id)
        if self._context.options.rate_limits == "at_start":
            self._emit("rate_limits.updated", rate_limits=self._context.meter.rate_limits())
        try:
            yield from self._let_pass(_THINKING_MS)
            for part in self._parts:
                if isinstance(part, Fail):
                    self._end("failed", {"type": "failed", "error": part.fail.model_dump()})
                    return
                yield from self._write_part(part)
                if isinstance(part, Model) and part.incomplete:
                    self._end("incomplete", {"type": "incomplete", "reason": part.incomplete})
                    return
            self._end("completed")
        except Interruption as interruption:
            self._end("cancelled", {"type": "cancelled", "reason": interruption.reason})

    def _write_part(self, part: Model | Tool | Mcp) -> Generator[float, None, None]:
        if isinstance(part, Model):
            yield from self._speak(part.model, incomplete=part.incomplete is not None)
        elif isinstance(part, Tool):
            yield from self._call_function(part)
        elif part.mcp.approval:
            self._ask_approval(part.mcp)
        else:
            yield from self._call_mcp(part.mcp)

    def _speak(self, text: str, *, incomplete: bool) -> Generator[float, None, None]:
        audio = self._modality == "audio"
        field = "transcript" if audio else "text"
        name = "response.output_audio_transcript" if audio else "response.output_text"
        item: Item = {"id": new_id("item"), "object": "realtime.item", "type": "message", "role": "assistant"}
        item |= {"status": "in_progress", "content": []}
        index = self._open(item)
        place = {"response_id": self.id, "item_id": item["id"], "output_index": index, "content_index": 0}
        self._emit("response.content_part.added", **place, part={"type": self._modality, field: ""})
        written = ""
        interruption = None
        deltas = words(text)
        try:
            for number, delta in enumerate(deltas):
                if audio and number == _DELTAS_BEFORE_AUDIO:
                    self._become_audible()
                written += delta
                self._emit(f"{name}.delta", **place, delta=delta, obfuscation=obfuscation())
                self.halfway = self.halfway or 2 * (number + 1) >= len(deltas)
                yield from self._let_pass(len(delta) * _GENERATED_MS_PER_CHARACTER)
        except Interruption as caught:
            interruption = caught
        if audio:
            self._audio_ms += spoken_ms(written)
            if not interruption:
                self._become_audible()
            self._emit("response.output_audio.done", **place)
        self._emit(f"{name}.done", **place, **{field: written})
        self._emit("response.content_part.done", **place, part={"type": self._modality, field: written})
        done = item | {"status": "incomplete" if interruption or incomplete else "completed"}
        done["content"] = [{"type": f"output_{self._modality}", field: written}]
        self._spoken.append(done)
        self._written.append(written)
        self._close(done, index)
        if interruption:
            raise interruption

    def _call_function(self, tool: Tool) -> Generator[float, None, None]:
        call_id = tool.call_id or new_id("call")
        item = {"id": new_id("item"), "object": "realtime.item", "type": "function_call", "status": "in_progress"}
        item |= {"name": tool.tool, "call_id": call_id, "arguments": ""}
        index = self._open(item)
        place = {"response_id": self.id, "item_id": item["id"], "output_index": index, "call_id": call_id}
        written = ""
        interruption = None
        deltas = chunks(tool.arguments_json)
        try:
            for number, delta in enumerate(deltas):
                written += delta
                self._emit("response.function_call_arguments.delta", **place, delta=delta, obfuscation=obfuscation())
                self.halfway = self.halfway or 2 * (number + 1) >= len(deltas)
                yield from self._let_pass(len(delta) * _GENERATED_MS_PER_CHARACTER)
        except Interruption as caught:
            interruption = caught
        self._emit("response.function_call_arguments.done", **place, name=tool.tool, arguments=written)
        self._written.append(written)
        self._close(item | {"arguments": written, "status": "incomplete" if interruption else "completed"}, index)
        if interruption:
            raise interruption
        self._context.tool_calls.start(call_id)

    def _call_mcp(self, call: McpCall) -> Generator[float, None, None]:
        arguments = Tool(tool=call.name, arguments=call.arguments).arguments_json
        item: Item = {"id": new_id("mcp"), "type": "mcp_call", "server_label": call.server_label, "name": call.name}
        item |= {"arguments": "", "approval_request_id": call.approved, "output": None, "error": None}
        index = self._open(item)
        place = {"item_id": item["id"], "output_index": index}
        for delta in chunks(arguments):
            self._emit(
                "response.mcp_call_arguments.delta",
                response_id=self.id, **place, delta=delta, obfuscation=obfuscation(),
            )  # fmt: skip
        self._emit("response.mcp_call_arguments.done", response_id=self.id, **place, arguments=arguments)
        self._emit("response.mcp_call.in_progress", **place)
        done = item | {"arguments": arguments, "output": call.output}
        interruption = None
        try:
            self.halfway = True
            yield from self._let_pass(_MCP_MS)
        except Interruption as caught:
            interruption = caught
        if call.error or interruption:
            done["output"] = None
            done["error"] = {"type": "tool_execution_error", "message": call.error or "The call was cancelled."}
        self._emit(f"response.mcp_call.{'failed' if done['error'] else 'completed'}", **place)
        self._written.append(arguments)
        self._close(done, index)
        if interruption:
            raise interruption

    def _ask_approval(self, call: McpCall) -> None:
        arguments = Tool(tool=call.name, arguments=call.arguments).arguments_json
        item: Item = {"id": new_id("mcpr"), "type": "mcp_approval_request", "server_label": call.server_label}
        item |= {"name": call.name, "arguments": arguments}
        self._context.tool_calls.ask_approval(item["id"], call)
        self._close(item, self._open(item))

    def _open(self, item: Item) -> int:
        """Announce an output item; returns its index."""
        index = len(self._output)
        self._emit("response.output_item.added", response_id=self.id, output_index=index, item=item)
        if not self.out_of_band:
            self._context.history.add(item)
        self._output.append(item)
        return index

    def _close(self, item: Item, index: int) -> None:
        """Finish an output item, whole or not."""
        self._output[index] = item
        if not self.out_of_band:
            self._context.history.finish(item)
        self._emit("response.output_item.done", response_id=self.id, output_index=index, item=item)

    def _end(self, status: str, details: dict[str, Any] | None = None) -> None:
        self._status, self._details = status, details
        if status != "failed":
            instructions = f"{self._context.session['instructions']}{self._context.session['tools']}"
            self._usage = self._context.meter.bill(instructions, "".join(self._written), self._audio_ms)
        self._on_written(self)

    def _become_audible(self) -> None:
        if self._audio == "unheard":
            self._audio = "playing"
            self._emit("output_audio_buffer.started", response_id=self.id)

    def _drain(self) -> Generator[float, None, None]:
        try:
            yield max(0.0, self._audio_ms - self._played_ms)
        except Interruption:
            self._audio_cleared()
            return
        self._audio = "over"
        self._emit("output_audio_buffer.stopped", response_id=self.id)
        self._on_heard()

    def _audio_cleared(self) -> None:
        """Stop the audio, and forget what was not heard."""
        self._audio = "over"
        self._emit("output_audio_buffer.cleared", response_id=self.id)
        if self._spoken:
            self._context.history.truncate(self._spoken[-1]["id"], 0, round(self._played_ms))

    def _let_pass(self, milliseconds: float) -> Iterator[float]:
        if self.playing:
            self._played_ms += milliseconds
        yield milliseconds


def _interrupt(play: Generator[float, None, None], interruption: Interruption) -> None:
    try:
        play.throw(interruption)
    except (Interruption, StopIteration):
        return  # the play is over, which is what an interruption is for
