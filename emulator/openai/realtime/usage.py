"""What speech takes: time, and tokens as OpenAI bills them (reference 7.1)."""

from __future__ import annotations

from typing import Any

SPOKEN_MS_PER_CHARACTER = 60
_CALLER_MS_PER_TOKEN = 100
_MODEL_MS_PER_TOKEN = 50
_CHARACTERS_PER_TOKEN = 4
_CACHE_STEP_TOKENS = 64


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def transcription_usage(text: str) -> dict[str, Any]:
    """The usage of transcribing what a caller said; it is billed apart from responses."""
    audio, written = len(text) * SPOKEN_MS_PER_CHARACTER // _CALLER_MS_PER_TOKEN, tokens(text)
    return {
        "type": "tokens",
        "input_tokens": audio,
        "output_tokens": written,
        "total_tokens": audio + written,
        "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
    }


class Meter:
    """Counts what a conversation holds: all of it is input again for every response."""

    def __init__(self) -> None:
        self.billed_tokens = 0
        """All tokens billed so far."""
        self._text = 0
        self._audio = 0
        self._cacheable = 0

    def read(self, text: str) -> None:
        """Text was added to the conversation."""
        self._text += tokens(text)

    def hear(self, text: str) -> None:
        """The caller said something."""
        self._audio += len(text) * SPOKEN_MS_PER_CHARACTER // _CALLER_MS_PER_TOKEN

    def bill(self, instructions: str, written: str, spoken_ms: float) -> dict[str, Any]:
        """The usage of one response, which is then part of the conversation."""
        text, audio = tokens(instructions) + self._text, self._audio
        text_out, audio_out = tokens(written), round(spoken_ms / _MODEL_MS_PER_TOKEN)
        cached = min(self._cacheable, text) // _CACHE_STEP_TOKENS * _CACHE_STEP_TOKENS
        total = text + audio + text_out + audio_out
        self._cacheable = text
        self._text += text_out
        self._audio += audio_out
        self.billed_tokens += total
        return {
            "total_tokens": total,
            "input_tokens": text + audio,
            "output_tokens": text_out + audio_out,
            "input_token_details": {
                "text_tokens": text,
                "audio_tokens": audio,
                "image_tokens": 0,
                "cached_tokens": cached,
                "cached_tokens_details": {"text_tokens": cached, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
        }
