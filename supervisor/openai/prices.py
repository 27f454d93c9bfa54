"""What a call costs at OpenAI, by a dated table of prices.

USD per million tokens, from OpenAI's model pages as read on 2026-11-20; check them before you bill anybody. A model
that is not in the table costs what the newest one does, so that a limit errs on the safe side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PRICES_READ_ON = "2026-11-20"
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens; of the input, cached tokens are a subset."""

    text_in: float
    text_cached: float
    text_out: float
    audio_in: float
    audio_cached: float
    audio_out: float
    image_in: float = 0.0
    image_cached: float = 0.0


_NEWEST = Price(4, 0.40, 24, 32, 0.40, 64, 5, 0.50)
PRICES = {
    "gpt-realtime-2.1": _NEWEST,
    "gpt-realtime-2": _NEWEST,
    "gpt-realtime-2.1-mini": Price(0.60, 0.06, 2.40, 10, 0.30, 20, 0.80, 0.08),
    "gpt-realtime-1.5": Price(4, 0.40, 16, 32, 0.40, 64),
    "gpt-realtime": Price(4, 0.40, 16, 32, 0.40, 64),
}
TRANSCRIPTION_USD_PER_MINUTE = {"gpt-live-transcribe": 0.017, "gpt-4o-mini-transcribe": 0.003}
DEAREST_TRANSCRIPTION_USD_PER_MINUTE = 0.017
TOKENS_PER_AUDIO_MINUTE = 600  # one token for 100 ms of the caller's audio (openai-realtime.md#usage-and-cost)


def response_usd(usage: Mapping[str, Any], model: str) -> float:
    """Compute the cost of a response, in USD (openai-realtime.md#usage-and-cost)."""
    price = PRICES.get(model, _NEWEST)
    inputs, outputs = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    cached = inputs.get("cached_tokens_details") or {}
    total = 0.0
    for kind, fresh_price, cached_price in (
        ("text_tokens", price.text_in, price.text_cached),
        ("audio_tokens", price.audio_in, price.audio_cached),
        ("image_tokens", price.image_in, price.image_cached),
    ):
        from_cache = _count(cached, kind)
        total += max(0, _count(inputs, kind) - from_cache) * fresh_price + from_cache * cached_price
    total += _count(outputs, "text_tokens") * price.text_out + _count(outputs, "audio_tokens") * price.audio_out
    return total / MILLION


def transcription_usd(usage: Mapping[str, Any], model: str) -> float:
    """Compute the cost of a transcription, in USD.

    It goes by the duration, or by the audio tokens.
    """
    minutes = float(usage.get("seconds") or 0) / 60
    if usage.get("type") == "tokens":
        details = usage.get("input_token_details") or {}
        minutes = (_count(details, "audio_tokens") or _count(usage, "input_tokens")) / TOKENS_PER_AUDIO_MINUTE
    return minutes * TRANSCRIPTION_USD_PER_MINUTE.get(model, DEAREST_TRANSCRIPTION_USD_PER_MINUTE)


def _count(counts: Mapping[str, Any], kind: str) -> int:
    return int(counts.get(kind) or 0)
