"""What OpenAI breaks on in silence is refused before it gets it, with what to write instead."""

from typing import Any

import pytest

from sideband import Agent
from supervisor.agents.session import accept_body, problems, update_body
from supervisor.errors import StartupError

FINE: dict[str, Any] = {
    "model": "gpt-realtime-2.1",
    "instructions": "Be brief.",
    "audio": {
        "input": {
            "noise_reduction": {"type": "far_field"},
            "transcription": {"model": "gpt-live-transcribe", "language": "nl"},
            "turn_detection": {"type": "server_vad", "threshold": 0.6, "silence_duration_ms": 300},
        },
        "output": {"voice": "marin", "speed": 1.1},
    },
    "reasoning": {"effort": "low"},
    "tools": [{"type": "mcp", "server_label": "shop", "server_url": "https://mcp.test/"}],
    "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**FINE, **fields}


def test_a_sound_session_has_no_problems() -> None:
    assert problems(FINE) == []


@pytest.mark.parametrize(
    ("session", "says"),
    [
        (changed(instuctions="x"), "did you mean instructions?"),
        (
            changed(audio={"input": {"turn_detection": {"type": "server_vad", "treshold": 1}}}),
            "did you mean threshold?",
        ),
        (changed(temperature=0.8), "session.temperature: there is no such field"),
        (changed(max_output_tokens="lots"), "session.max_output_tokens: should be a valid integer or should be 'inf'"),
        (changed(output_modalities=["video"]), "session.output_modalities[0]: should be 'text' or 'audio'"),
        (changed(tools=["x"]), "session.tools[0]: should be an object"),
        (changed(tools=3), "session.tools: should be a valid"),
        (changed(tools=[{"type": "function"}, {"type": "mcp"}]), "session.tools[1].server_label: Field required"),
        (changed(instructions=3), "session.instructions: should be a valid string"),
        (
            changed(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": "high"}}}),
            "session.audio.input.turn_detection.threshold: should be a valid number",
        ),
        (changed(audio={"output": {"speed": "1.1"}}), "session.audio.output.speed: should be a valid number"),
        (changed(audio={"output": {"speed": 3}}), "session.audio.output.speed is 3: OpenAI takes 0.25 to 1.5"),
        (changed(instructions=object()), "session can't be sent: Type is not JSON serializable: object"),
        (changed(type="transcription"), "leave it out, or write 'realtime'"),
        ({"instructions": "x"}, "session.model is missing"),
        (changed(model="gpt-realtime"), "shuts gpt-realtime down on 2027-01-20; use gpt-realtime-2.1"),
        (changed(audio={"input": {"transcription": {"model": "whisper-1"}}}), "on 2027-02-26; use gpt-transcribe"),
        (changed(audio={"output": {"format": {"type": "audio/pcmu"}}}), "session.audio.output.format: leave it out"),
        (changed(prompt={"id": "pmpt_1"}), "put the text into session.instructions"),
        (changed(tools=FINE["tools"] * 2), "two MCP servers are labelled 'shop'"),
        (
            changed(tools=[{"type": "mcp", "server_label": "shop"}]),
            "needs either server_url, connector_id or tunnel_id",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write_instead(session: dict[str, Any], says: str) -> None:
    assert any(says in problem for problem in problems(session))
    with pytest.raises(StartupError) as raised:
        Agent(session=session)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_accept_of_a_sip_call_has_no_numbers_of_voice_detection_and_the_update_has() -> None:
    accept = accept_body(FINE, {})
    assert accept["audio"]["input"]["turn_detection"] == {"type": "server_vad"}
    assert update_body(FINE, {})["audio"]["input"]["turn_detection"]["threshold"] == 0.6


def test_neither_accept_nor_update_ever_names_an_audio_format() -> None:
    for body in (accept_body(FINE, {}), update_body(FINE, {})):
        assert all("format" not in side for side in body["audio"].values())
