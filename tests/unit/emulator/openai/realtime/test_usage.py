"""What speech costs: time and tokens, as OpenAI counts them."""

from __future__ import annotations

from emulator.openai.realtime.usage import Meter, spoken_ms, tokens, transcription_usage


def test_texts() -> None:
    """A longer text takes longer to speak, and has more tokens; one letter has one."""
    assert (spoken_ms(""), tokens("")) == (0, 0)
    assert (tokens("a"), tokens("abcd"), tokens("abcde")) == (1, 1, 2)
    assert spoken_ms("abcd") == 4 * spoken_ms("a") > 0


def test_transcription_usage() -> None:
    """A transcription is billed by its audio and by its words, which add up."""
    usage = transcription_usage("Where is my order?")
    assert usage["input_tokens"] == usage["input_token_details"]["audio_tokens"] > 0
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_all_is_input_again() -> None:
    """What was said is input of every later response; input and output add up to the total."""
    meter = Meter()
    meter.read("x" * 400)
    meter.hear("y" * 50)
    bills = [meter.bill("", "z" * 40, audio_ms=1000) for _ in range(2)]
    first, second = (bill["input_token_details"] for bill in bills)
    assert (first["text_tokens"], first["audio_tokens"]) == (100, 30)
    assert (second["text_tokens"], second["audio_tokens"]) == (110, 50)
    for bill in bills:
        assert bill["output_token_details"] == {"text_tokens": 10, "audio_tokens": 20}
        assert bill["total_tokens"] == bill["input_tokens"] + bill["output_tokens"]
    assert meter.billed_tokens == sum(bill["total_tokens"] for bill in bills)


def test_cached_tokens() -> None:
    """Text of an earlier response is cached, in steps of 64 tokens, and counted within the input."""
    meter = Meter()
    meter.read("x" * 4 * 150)
    cached = [meter.bill("", "", audio_ms=0)["input_token_details"]["cached_tokens"] for _ in range(2)]
    assert cached == [0, 128]


def test_rate_limits() -> None:
    """What was billed is missing from the rate limit."""
    meter = Meter()
    before = meter.rate_limits()[0]["remaining"]
    bill = meter.bill("Be brief.", "Hello.", audio_ms=500)
    assert meter.rate_limits()[0]["remaining"] == before - bill["total_tokens"]
