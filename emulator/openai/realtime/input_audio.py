"""The caller's half of a conversation: speech, the turns that are detected in it, transcription, silence, and keys."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from emulator.openai.errors import ApiError
from emulator.openai.ids import new_id
from emulator.openai.realtime.usage import SPOKEN_MS_PER_CHARACTER, transcription_usage

if TYPE_CHECKING:
    from collections.abc import Generator

    from emulator.openai.realtime.conversation import Conversation
    from emulator.openai.realtime.history import Item

_TRANSCRIPTION_MS = 250
_TRANSCRIBED_MS_PER_CHARACTER = 4
_SEMANTIC_VAD_MS = 200


class InputAudio:
    """What OpenAI hears of the caller of one conversation."""

    def __init__(self, conversation: Conversation) -> None:
        self.last_words: str | None = None
        """What the caller said last."""
        self.unanswered = False
        """Whether a turn of the caller has had no response yet."""
        self._conversation = conversation
        self._emit = conversation.emit
        self._uncommitted: list[str] = []
        self._clock_ms = 0
        self._silences = 0

    @property
    def _detection(self) -> dict[str, Any]:
        """The session's turn detection; empty, if there is none."""
        detection: dict[str, Any] | None = self._conversation.session["audio"]["input"]["turn_detection"]
        return detection or {}

    def hear(self, text: str, transcription: str = "completed") -> Generator[float, None, None]:
        """The caller says something: a play, with whatever the session's turn detection makes of it."""
        self.break_silence()
        spoken_ms = len(text) * SPOKEN_MS_PER_CHARACTER
        if not self._detection:
            yield spoken_ms
            self._uncommitted.append(text)
            return
        item_id = new_id("item")
        self._emit("input_audio_buffer.speech_started", audio_start_ms=self._clock_ms, item_id=item_id)
        if self._detection["interrupt_response"]:
            self._conversation.interrupt()
        yield spoken_ms + self._detection.get("silence_duration_ms", _SEMANTIC_VAD_MS)
        self._clock_ms += spoken_ms
        self._emit("input_audio_buffer.speech_stopped", audio_end_ms=self._clock_ms, item_id=item_id)
        self._take(text, transcription, item_id)
        if self._detection.get("create_response") and not self._conversation.active:
            self._conversation.respond()

    def commit(self) -> None:
        """A client says that the caller's turn is over.

        Raises:
            ApiError: the caller has said nothing.
        """
        if not self._uncommitted:
            message = "Error committing input audio buffer: the buffer is empty."
            raise ApiError(message, code="input_audio_buffer_commit_empty")
        text = " ".join(self._uncommitted)
        self._uncommitted.clear()
        self._take(text, "completed", new_id("item"))

    def clear(self) -> None:
        """A client forgets what is not committed."""
        self._uncommitted.clear()
        self._emit("input_audio_buffer.cleared")

    def _take(self, text: str, transcription: str, item_id: str) -> None:
        """What was said becomes an item."""
        self._emit("input_audio_buffer.committed", previous_item_id=self._conversation.history.last_id, item_id=item_id)
        item: Item = {"id": item_id, "object": "realtime.item", "type": "message", "role": "user"}
        item |= {"status": "completed", "content": [{"type": "input_audio", "transcript": None}]}
        self._conversation.keep(item)
        self._conversation.finish(item)
        self._conversation.meter.hear(text)
        self.last_words = text or self.last_words
        self.unanswered = True
        if text and self._conversation.session["audio"]["input"]["transcription"]:
            self._conversation.perform(self._transcribe(item, text, transcription))

    def _transcribe(self, item: Item, text: str, outcome: str) -> Generator[float, None, None]:
        """Transcription takes its own time, and comes between other events wherever it happens to."""
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
        if item["id"] in self._conversation.history:
            self._conversation.history.replace(item | {"content": [{"type": "input_audio", "transcript": text}]})
        self._emit(f"{name}.completed", **place, transcript=text, usage=transcription_usage(text))

    def break_silence(self) -> None:
        """Somebody speaks."""
        self._silences += 1

    def fall_silent(self) -> None:
        """The model has been heard to the end; from now on the caller may be idle."""
        if timeout_ms := self._detection.get("idle_timeout_ms"):
            self._conversation.perform(self._idle(timeout_ms, self._silences))

    def _idle(self, timeout_ms: int, silence: int) -> Generator[float, None, None]:
        yield timeout_ms
        if silence != self._silences or self._conversation.active:
            return
        start_ms, self._clock_ms = self._clock_ms, self._clock_ms + timeout_ms
        item_id = new_id("item")
        self._emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=start_ms,
            audio_end_ms=self._clock_ms,
            item_id=item_id,
        )
        self._take("", "completed", item_id)
        self._conversation.respond()


def words(text: str) -> list[str]:
    """A text as the pieces that deltas carry."""
    return re.findall(r"\s*\S+\s*$|\s*\S+", text) or [text]


def obfuscation() -> str:
    """Padding that hides a delta's length from who watches the wire; every delta carries some (reference 4.2)."""
    return secrets.token_hex(4)
