"""OpenAI's REST API as the edge uses it: over sockets in test_webrtc, here what needs none."""

import pytest

from function.openai import is_webrtc_call_id


@pytest.mark.parametrize("text", ["rtc_1", "rtc_u0_E6mH7Y", "rtc_" + "a" * 252], ids=["short", "usual", "longest"])
def test_ids_of_webrtc_calls(text: str) -> None:
    """What OpenAI gives to WebRTC calls for an id is recognised."""
    assert is_webrtc_call_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "rtc_", "call_1", "calls", "rtc_1/accept", "rtc_1?x=1", "rtc 1", "rtc_1\x00", "rtc_1\n", "rtc_" + "a" * 253],
    ids=["empty", "no id", "prefix", "word", "path", "query", "space", "NUL", "line feed", "too long"],
)
def test_what_is_no_id_of_a_webrtc_call(text: str) -> None:
    """Anything else is no id, least of all what would change the meaning of a URL."""
    assert not is_webrtc_call_id(text)
