"""One response of the model: the events that it is made of, in the recorded order (reference 4.6, 6.1, 6.3, 6.6).

A response is *played*. `Response.play` is a generator that emits events and yields, between them, how many milliseconds
of real life pass; whoever drives it decides how long that is. An interruption is thrown into it as `Cut`, so that what
was open is closed by the same lines that close it in the ordinary case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from emulator.openai.calls.script import Fail, Mcp, McpCall, Model, Part, Tool
from emulator.openai.ids import new_id
from emulator.openai.realtime.history import Item
from emulator.openai.realtime.input_audio import obfuscation, words
from emulator.openai.realtime.usage import SPOKEN_MS_PER_CHARACTER

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from emulator.openai.realtime.conversation import Conversation

_THINKING_MS = 400
_GENERATED_MS_PER_CHARACTER = 12  # a model writes about five times faster than it is heard
_DELTAS_BEFORE_AUDIO = 12  # a short sentence is written before its audio starts, as recorded
_MCP_MS = 500


class Cut(Exception):
    """Thrown into a play: the response, or its audio, is to stop here."""

    def __init__(self, reason: Literal["turn_detected", "client_cancelled", "cleared"]) -> None:
        super().__init__(reason)
        self.reason = reason


class Response:
    """One response, in the default conversation or beside it (`aside`)."""

    def __init__(
        self,
        conversation: Conversation,
        parts: Sequence[Part],
        *,
        modality: Literal["audio", "text"],
        aside: bool = False,
        metadata: dict[str, str] | None = None,
        max_output_tokens: int | str = "inf",
    ) -> None:
        self.id = new_id("resp")
        self.aside = aside
        self.midway = False
        """Whether about half of some part has been written: the moment to interrupt it."""
        self._conversation = conversation
        self._emit = conversation.emit
        self._parts = parts
        self._modality = modality
        self._metadata = metadata
        self._max_output_tokens = max_output_tokens
        self._status = "in_progress"
        self._details: dict[str, Any] | None = None
        self._usage: dict[str, Any] | None = None
        self._output: list[Item] = []
        self._spoken: list[Item] = []
        self._audio_ms = 0.0
        self._played_ms = 0.0
        self._audio: Literal["unheard", "playing", "over"] = "unheard"
        self._written: list[str] = []
        self._playing = self._play()
        self._draining = self._drain()

    def start(self) -> None:
        """Begin: `response.created` is emitted before this returns."""
        self._conversation.perform(self._playing)

    def cut(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Cancel what is still being written: everything open is closed, then `response.done` says `cancelled`."""
        _throw(self._playing, Cut(reason))

    def silence(self) -> None:
        """Clear the audio that is written but not yet heard."""
        if self._status == "in_progress":
            self._cleared()
        else:
            _throw(self._draining, Cut("cleared"))

    def snapshot(self) -> dict[str, Any]:
        """The `response` object as it stands now."""
        session = self._conversation.session
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self._status,
            "status_details": self._details,
            "output": list(self._output),
            "conversation_id": None if self.aside else self._conversation.id,
            "output_modalities": [self._modality],
            "max_output_tokens": self._max_output_tokens,
            "audio": {
                "output": {"format": session["audio"]["output"]["format"], "voice": session["audio"]["output"]["voice"]}
            },
            "usage": self._usage,
            "metadata": self._metadata,
        }

    def _play(self) -> Generator[float, None, None]:
        self._emit("response.created", response=self.snapshot())
        if self._conversation.options.novelties:
            self._emit("response.novelty", response_id=self.id)
        if self._conversation.options.rate_limits == "at_start":
            self._conversation.emit_rate_limits()
        try:
            yield from self._let_pass(_THINKING_MS)
            for part in self._parts:
                if isinstance(part, Fail):
                    self._end("failed", {"type": "failed", "error": part.fail.model_dump()})
                    return
                yield from self._write(part)
                if isinstance(part, Model) and part.incomplete:
                    self._end("incomplete", {"type": "incomplete", "reason": part.incomplete})
                    return
            self._end("completed")
        except Cut as cut:
            self._end("cancelled", {"type": "cancelled", "reason": cut.reason})

    def _write(self, part: Model | Tool | Mcp) -> Generator[float, None, None]:
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
        where = self._open(item)
        place = {"response_id": self.id, "item_id": item["id"], "output_index": where, "content_index": 0}
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
                self.midway = self.midway or 2 * (number + 1) >= len(deltas)
                yield from self._let_pass(len(delta) * _GENERATED_MS_PER_CHARACTER)
        except Cut as cut:
            interruption = cut
        if audio:
            self._audio_ms += len(written) * SPOKEN_MS_PER_CHARACTER
            if not interruption:
                self._become_audible()
            self._emit("response.output_audio.done", **place)
        self._emit(f"{name}.done", **place, **{field: written})
        self._emit("response.content_part.done", **place, part={"type": self._modality, field: written})
        done = item | {"status": "incomplete" if interruption or incomplete else "completed"}
        done["content"] = [{"type": f"output_{self._modality}", field: written}]
        self._spoken.append(done)
        self._written.append(written)
        self._close(done, where)
        if interruption:
            raise interruption

    def _call_function(self, tool: Tool) -> Generator[float, None, None]:
        call_id = tool.call_id or new_id("call")
        item = {"id": new_id("item"), "object": "realtime.item", "type": "function_call", "status": "in_progress"}
        item |= {"name": tool.tool, "call_id": call_id, "arguments": ""}
        where = self._open(item)
        place = {"response_id": self.id, "item_id": item["id"], "output_index": where, "call_id": call_id}
        written = ""
        interruption = None
        deltas = _chunks(tool.arguments_json)
        try:
            for number, delta in enumerate(deltas):
                written += delta
                self._emit("response.function_call_arguments.delta", **place, delta=delta, obfuscation=obfuscation())
                self.midway = self.midway or 2 * (number + 1) >= len(deltas)
                yield from self._let_pass(len(delta) * _GENERATED_MS_PER_CHARACTER)
        except Cut as cut:
            interruption = cut
        self._emit("response.function_call_arguments.done", **place, name=tool.tool, arguments=written)
        self._written.append(written)
        self._close(item | {"arguments": written, "status": "incomplete" if interruption else "completed"}, where)
        if interruption:
            raise interruption
        self._conversation.expect_output(call_id)

    def _call_mcp(self, call: McpCall) -> Generator[float, None, None]:
        arguments = Tool(tool=call.name, arguments=call.arguments).arguments_json
        item: Item = {"id": new_id("mcp"), "type": "mcp_call", "server_label": call.server_label, "name": call.name}
        item |= {"arguments": "", "approval_request_id": call.approved, "output": None, "error": None}
        where = self._open(item)
        place = {"item_id": item["id"], "output_index": where}
        for delta in _chunks(arguments):
            self._emit(
                "response.mcp_call_arguments.delta",
                response_id=self.id, **place, delta=delta, obfuscation=obfuscation(),
            )  # fmt: skip
        self._emit("response.mcp_call_arguments.done", response_id=self.id, **place, arguments=arguments)
        self._emit("response.mcp_call.in_progress", **place)
        done = item | {"arguments": arguments, "output": call.output}
        interruption = None
        try:
            self.midway = True
            yield from self._let_pass(_MCP_MS)
        except Cut as cut:
            interruption = cut
        if call.error or interruption:
            done["output"] = None
            done["error"] = {"type": "tool_execution_error", "message": call.error or "The call was cancelled."}
        self._emit(f"response.mcp_call.{'failed' if done['error'] else 'completed'}", **place)
        self._written.append(arguments)
        self._close(done, where)
        if interruption:
            raise interruption

    def _ask_approval(self, call: McpCall) -> None:
        arguments = Tool(tool=call.name, arguments=call.arguments).arguments_json
        item: Item = {"id": new_id("mcpr"), "type": "mcp_approval_request", "server_label": call.server_label}
        item |= {"name": call.name, "arguments": arguments}
        self._conversation.approvals[item["id"]] = call
        self._close(item, self._open(item))

    def _open(self, item: Item) -> int:
        """Announce an output item; the answer is its index."""
        where = len(self._output)
        self._emit("response.output_item.added", response_id=self.id, output_index=where, item=item)
        if not self.aside:
            self._conversation.keep(item)
        self._output.append(item)
        return where

    def _close(self, item: Item, where: int) -> None:
        """An output item is finished, whole or not."""
        self._output[where] = item
        if not self.aside:
            self._conversation.finish(item)
        self._emit("response.output_item.done", response_id=self.id, output_index=where, item=item)

    def _end(self, status: str, details: dict[str, Any] | None = None) -> None:
        self._status, self._details = status, details
        if status != "failed":
            self._usage = self._conversation.bill("".join(self._written), self._audio_ms)
        self._conversation.response_ends(self)
        self._emit("response.done", response=self.snapshot())
        if self._conversation.options.rate_limits == "after_done":
            self._conversation.emit_rate_limits()
        if self._audio == "playing":
            self._conversation.perform(self._draining)
        self._conversation.response_ended(self)

    def _become_audible(self) -> None:
        if self._audio == "unheard":
            self._audio = "playing"
            self._conversation.playing.append(self)
            self._emit("output_audio_buffer.started", response_id=self.id)

    def _drain(self) -> Generator[float, None, None]:
        """What is written goes on being heard after `response.done`."""
        try:
            yield max(0.0, self._audio_ms - self._played_ms)
        except Cut:
            self._cleared()
            return
        self._stop_playing()
        self._emit("output_audio_buffer.stopped", response_id=self.id)
        self._conversation.input_audio.fall_silent()

    def _cleared(self) -> None:
        """The audio stops, and the conversation forgets what was not heard."""
        self._stop_playing()
        self._emit("output_audio_buffer.cleared", response_id=self.id)
        if self._spoken:
            self._conversation.truncate(self._spoken[-1]["id"], 0, round(self._played_ms))

    def _stop_playing(self) -> None:
        self._audio = "over"
        self._conversation.playing.remove(self)

    def _let_pass(self, milliseconds: float) -> Iterator[float]:
        if self._audio == "playing":
            self._played_ms += milliseconds
        yield milliseconds


def _throw(play: Generator[float, None, None], cut: Cut) -> None:
    try:
        play.throw(cut)
    except (Cut, StopIteration):
        return  # the play is over, which is what a cut is for


def _chunks(text: str, size: int = 6) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
