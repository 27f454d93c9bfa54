"""What OpenAI breaks on in silence is refused before it gets it, with what to write instead."""

from typing import Any

import pytest

from examples.bikes import agent
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
    """A session in which nothing is wrong passes."""
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
    ids=[
        *("misspelt field", "misspelt inner field", "unknown field", "wrong number", "wrong modality"),
        *("tool that is no object", "no tools", "server without a label", "instructions", "threshold as text"),
        *("speed as text", "speed out of bounds", "not JSON", "wrong type", "no model", "retiring model"),
        *("retiring transcription", "audio format", "prompt", "two servers of one label", "server without address"),
    ],
)
def test_a_wrong_session_is_explained(session: dict[str, Any], says: str) -> None:
    """What is wrong in a session is refused in one line, with what to write instead."""
    assert any(says in problem for problem in problems(session))
    with pytest.raises(StartupError) as raised:
        Agent(session=session)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bodies_carry_type_and_tools() -> None:
    """Accept and update both carry the type and the tools; the update leaves the model out, which can't change."""
    accept, update = accept_body(agent.session, agent.tools), update_body(agent.session, agent.tools)
    assert accept["type"] == update["type"] == "realtime"
    assert [tool["name"] for tool in update["tools"]] == ["order_status", "hang_up"]
    assert accept["model"] == "gpt-realtime-2.1"
    assert "model" not in update, "the model of a session can't change"


def test_voice_numbers_only_in_the_update() -> None:
    """The numbers of voice detection, which SIP refuses, are left out of the accept and sent in the update."""
    accept = accept_body(FINE, {})
    assert accept["audio"]["input"]["turn_detection"] == {"type": "server_vad"}
    assert update_body(FINE, {})["audio"]["input"]["turn_detection"]["threshold"] == 0.6


def test_no_audio_format_is_sent() -> None:
    """Neither accept nor update names an audio format, which would turn a telephone call into noise."""
    for body in (accept_body(FINE, {}), update_body(FINE, {})):
        assert all("format" not in side for side in body["audio"].values())
