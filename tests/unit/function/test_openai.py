"""OpenAI's REST API as the edge uses it: over sockets in test_webrtc, here what needs none."""

import pytest

from function.openai import is_webrtc_call_id


@pytest.mark.parametrize("text", ["rtc_1", "rtc_u0_E6mH7Y", "rtc_" + "a" * 252])
def test_ids_of_webrtc_calls(text: str) -> None:
    assert is_webrtc_call_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "rtc_", "call_1", "calls", "rtc_1/accept", "rtc_1?x=1", "rtc 1", "rtc_1\x00", "rtc_1\n", "rtc_" + "a" * 253],
)
def test_what_is_no_id_of_a_webrtc_call(text: str) -> None:
    """Nor may it change the meaning of a URL that it is put into."""
    assert not is_webrtc_call_id(text)
