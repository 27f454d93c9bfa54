"""What a response and a transcription cost."""

import pytest

from supervisor.openai.prices import response_usd, transcription_usd

USAGE = {
    "input_token_details": {
        "text_tokens": 1000,
        "audio_tokens": 500,
        "cached_tokens_details": {"text_tokens": 400, "audio_tokens": 100},
    },
    "output_token_details": {"text_tokens": 10, "audio_tokens": 200},
}


def test_cached_tokens_are_input() -> None:
    """Cached tokens are a part of the input, at a price of their own."""
    expected = 600 * 4 + 400 * 0.4 + 400 * 32 + 100 * 0.4 + 10 * 24 + 200 * 64
    assert response_usd(USAGE, "gpt-realtime-2.1") == pytest.approx(expected / 1e6)


def test_an_unknown_model() -> None:
    """A model without a price costs what the newest one does."""
    assert response_usd(USAGE, "gpt-realtime-9") == response_usd(USAGE, "gpt-realtime-2.1")


@pytest.mark.parametrize(
    "usage", [{}, {"input_token_details": None}, {"output_token_details": {"audio_tokens": None}}], ids=str
)
def test_a_usage_with_holes(usage: dict[str, object]) -> None:
    """What a usage does not name costs nothing."""
    assert response_usd(usage, "gpt-realtime-2.1") == 0


def test_transcription() -> None:
    """A transcription is billed by its minutes or by its tokens, as its usage says."""
    assert transcription_usd({"type": "duration", "seconds": 60}, "gpt-live-transcribe") == pytest.approx(0.017)
    tokens = {"type": "tokens", "input_tokens": 700, "input_token_details": {"audio_tokens": 600}}
    assert transcription_usd(tokens, "gpt-4o-mini-transcribe") == pytest.approx(0.003)
