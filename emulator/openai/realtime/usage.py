"""What speech costs: time, and tokens (openai-realtime.md#usage-and-cost)."""

from __future__ import annotations

from typing import Any

_SPOKEN_MS_PER_CHARACTER = 60
_CALLER_MS_PER_TOKEN = 100
_MODEL_MS_PER_TOKEN = 50
_CHARACTERS_PER_TOKEN = 4
_CACHE_STEP_TOKENS = 64
_TOKEN_LIMIT = 15_000_000


def spoken_ms(text: str) -> int:
    """Say how long a text takes to speak."""
    return len(text) * _SPOKEN_MS_PER_CHARACTER


def tokens(text: str) -> int:
    """Estimate how many tokens a text has."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def transcription_usage(text: str) -> dict[str, Any]:
    """Bill the transcription of what a caller said."""
    audio, written = spoken_ms(text) // _CALLER_MS_PER_TOKEN, tokens(text)
    return {
        "type": "tokens",
        "input_tokens": audio,
        "output_tokens": written,
        "total_tokens": audio + written,
        "input_token_details": {"text_tokens": 0, "audio_tokens": audio},
    }


class Meter:
    """Counts a conversation's tokens: all are input again for every response."""

    def __init__(self) -> None:
        self.billed_tokens = 0
        """All tokens billed so far."""
        self._text = 0
        self._audio = 0
        self._cacheable = 0

    def read(self, text: str) -> None:
        """Count text that was added to the conversation."""
        self._text += tokens(text)

    def hear(self, text: str) -> None:
        """Count what the caller said."""
        self._audio += spoken_ms(text) // _CALLER_MS_PER_TOKEN

    def bill(self, instructions: str, written: str, audio_ms: float) -> dict[str, Any]:
        """Bill one response, which is then part of the conversation."""
        text, audio = tokens(instructions) + self._text, self._audio
        text_out, audio_out = tokens(written), round(audio_ms / _MODEL_MS_PER_TOKEN)
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

    def rate_limits(self) -> list[dict[str, Any]]:
        """Say how much of the rate limit is left."""
        remaining = _TOKEN_LIMIT - self.billed_tokens
        return [{"name": "tokens", "limit": _TOKEN_LIMIT, "remaining": remaining, "reset_seconds": 0.0}]
