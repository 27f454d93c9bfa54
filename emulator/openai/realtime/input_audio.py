"""The caller's half of a conversation: speech, turns, transcription."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.openai.errors import ApiError
from emulator.openai.ids import new_id
from emulator.openai.realtime.events import obfuscation, words
from emulator.openai.realtime.usage import transcription_usage

if TYPE_CHECKING:
    from collections.abc import Generator

    from emulator.openai.realtime.context import Context
    from emulator.openai.realtime.items import Item

_TRANSCRIPTION_MS = 250
_TRANSCRIBED_MS_PER_CHARACTER = 4


class InputAudio:
    """The input audio buffer of one conversation."""

    def __init__(self, context: Context) -> None:
        self.last_words: str | None = None
        """What the caller said last."""
        self.unanswered = False
        """Whether a turn of the caller has had no response yet."""
        self._context = context
        self._emit = context.emit
        self._uncommitted: list[str] = []
        self._clock_ms = 0

    def start_speech(self) -> str:
        """Announce that the caller speaks; returns the turn's item id."""
        item_id = new_id("item")
        self._emit("input_audio_buffer.speech_started", audio_start_ms=self._clock_ms, item_id=item_id)
        return item_id

    def stop_speech(self, item_id: str, spoken_ms: int) -> None:
        """Announce that the caller has stopped speaking, after `spoken_ms`."""
        self._clock_ms += spoken_ms
        self._emit("input_audio_buffer.speech_stopped", audio_end_ms=self._clock_ms, item_id=item_id)

    def time_out(self, idle_ms: int) -> None:
        """Add the empty turn of a caller who said nothing."""
        start_ms, self._clock_ms = self._clock_ms, self._clock_ms + idle_ms
        item_id = new_id("item")
        self._emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=start_ms,
            audio_end_ms=self._clock_ms,
            item_id=item_id,
        )
        self.add_turn("", "completed", item_id)

    def append(self, text: str) -> None:
        """Keep what the caller said until a client commits it."""
        self._uncommitted.append(text)

    def commit(self) -> None:
        """Make a turn of what the caller has said.

        Raises:
            ApiError: the caller has said nothing.
        """
        if not self._uncommitted:
            message = "Error committing input audio buffer: the buffer is empty."
            raise ApiError(message, code="input_audio_buffer_commit_empty")
        text = " ".join(self._uncommitted)
        self._uncommitted.clear()
        self.add_turn(text, "completed", new_id("item"))

    def clear(self) -> None:
        """Forget what is not committed."""
        self._uncommitted.clear()
        self._emit("input_audio_buffer.cleared")

    def add_turn(self, text: str, transcription: str, item_id: str) -> None:
        """Add a turn of the caller, and transcribe it if asked to."""
        history = self._context.history
        self._emit("input_audio_buffer.committed", previous_item_id=history.last_id, item_id=item_id)
        item: Item = {"id": item_id, "object": "realtime.item", "type": "message", "role": "user"}
        item |= {"status": "completed", "content": [{"type": "input_audio", "transcript": None}]}
        history.add(item)
        history.finish(item)
        self._context.meter.hear(text)
        self.last_words = text or self.last_words
        self.unanswered = True
        if text and self._context.session["audio"]["input"]["transcription"]:
            self._context.perform(self._transcribe(item, text, transcription))

    def _transcribe(self, item: Item, text: str, outcome: str) -> Generator[float, None, None]:
        """Play a transcription; its events come between any others."""
        name = "conversation.item.input_audio_transcription"
        place = {"item_id": item["id"], "content_index": 0}
        yield _TRANSCRIPTION_MS
        if outcome == "failed":
            message = "The audio could not be transcribed."
            error = {"type": "server_error", "code": "audio_unintelligible", "message": message, "param": None}
            self._emit(f"{name}.failed", **place, error=error)
            return
        for delta in words(text):
            self._emit(f"{name}.delta", **place, delta=delta, obfuscation=obfuscation())
            yield len(delta) * _TRANSCRIBED_MS_PER_CHARACTER
        self._context.history.replace(item | {"content": [{"type": "input_audio", "transcript": text}]})
        self._emit(f"{name}.completed", **place, transcript=text, usage=transcription_usage(text))
