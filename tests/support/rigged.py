"""What tests on a rig share: agents, scripts, and what becomes of supervisors and calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from function.notice import CallNotice
from sideband import Agent
from sideband._rig import entries

if TYPE_CHECKING:
    from emulator.openai import Call
    from sideband._rig import Rig

SESSION: dict[str, Any] = {"model": "gpt-realtime-2.1"}
TRANSCRIBED = {**SESSION, "audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}}}}
STAY: dict[str, Any] = {"pause_ms": 60_000}
"""Says nothing more, and does not hang up."""


def agent(**settings: Any) -> Agent:
    """Make an agent that hears its callers in words."""
    return Agent(session={**TRANSCRIBED}, **settings)


def greeter(**settings: Any) -> Agent:
    """Make an agent that greets."""
    return Agent(session={**SESSION}, greeting="Greet.", **settings)


def asked_for(call: Call) -> list[str]:
    """Give the instructions of every response that was asked for."""
    return [entry.payload["response"].get("instructions", "") for entry in entries(call, "frame_in", "response.create")]


async def call_by_browser(rigged: Rig, context: dict[str, Any] | None = None) -> Call:
    """Place a call that the function made for a browser."""
    call = rigged.stand_in.place_webrtc_call({"type": "realtime", **SESSION}, ephemeral_key=None)
    notice = CallNotice(call_id=call.call_id, transport="webrtc", source="relay", context=dict(context or {}))
    await rigged.publish(notice.data())
    return call


async def crash_first(rigged: Rig) -> None:
    """End the first supervisor without a hand-over."""
    rigged.supervisors[0].task.cancel()
    await asyncio.gather(rigged.supervisors[0].task, return_exceptions=True)


async def stop_first(rigged: Rig) -> None:
    """Stop the first supervisor, and wait until it has gone."""
    rigged.supervisors[0].stop.set()
    await rigged.supervisors[0].task
