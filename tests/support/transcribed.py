"""Agents whose callers are transcribed, and what their model is asked to say."""

from typing import Any

from sideband import Agent
from sideband._rig import entries

SESSION: dict[str, Any] = {
    "model": "gpt-realtime-2.1",
    "audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}}},
}
STAY: dict[str, Any] = {"pause_ms": 60_000}


def agent(**settings: Any) -> Agent:
    """Make an agent."""
    return Agent(session=SESSION, **settings)


def requested(call: Any) -> list[str]:
    """List the instructions of every response that was requested."""
    return [entry.payload["response"].get("instructions", "") for entry in entries(call, "frame_in", "response.create")]
