"""The SDP answer of a call without media."""

from __future__ import annotations

from emulator.openai.calls.sdp import sdp_answer

OFFER = """v=0
o=- 1 2 IN IP4 127.0.0.1
s=-
t=0 0
m=audio 50000 UDP/TLS/RTP/SAVPF 111 0
a=mid:0
m=application 50001 UDP/DTLS/SCTP webrtc-datachannel
a=mid:data
""".replace("\n", "\r\n")


def lines(answer: str, start: str) -> list[str]:
    return [line for line in answer.splitlines() if line.startswith(start)]


def test_all_sections_are_accepted() -> None:
    """Each media section is accepted, in the offer's order, under its own mid."""
    answer = sdp_answer(OFFER)
    assert lines(answer, "m=") == [
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    ]
    assert lines(answer, "a=mid:") == ["a=mid:0", "a=mid:data"]
    assert lines(answer, "a=group:") == ["a=group:BUNDLE 0 data"]
    assert lines(answer, "a=sendrecv") == ["a=sendrecv"], "audio alone"
    assert answer.endswith("\r\n")


def test_sections_without_a_mid() -> None:
    """A section that names no mid gets its number."""
    answer = sdp_answer("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n")
    assert lines(answer, "a=mid:") == ["a=mid:0"]
    assert lines(answer, "a=group:") == ["a=group:BUNDLE"]


def test_each_answer_has_its_own_secrets() -> None:
    """No two answers share a password or a fingerprint."""
    first, second = sdp_answer(OFFER), sdp_answer(OFFER)
    for start in ("a=ice-pwd:", "a=fingerprint:"):
        assert lines(first, start) != lines(second, start)
