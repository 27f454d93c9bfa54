"""What a call's sideband carries, recorded once from the stand-in for OpenAI, in pieces to play again and again.

Three turns are recorded: in two the model answers in about 40 words, each of which is a frame; in the third it calls a
tool first. All that a played piece does not take from the tape are its ids: the end of each is replaced by another of
the same length, so that no frame changes its size, and a turn is made by one `bytes.replace`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import aiohttp
import orjson

from emulator.openai import Options, serve

KEY = "sk-bench"
TOOL = "order_status"
SECONDS = 20.0
TAG = b"@@@@@@@@"
_ID = re.compile(rb'"((?:event|item|resp|call)_[0-9a-f]{12})[0-9a-f]{8}"')
_WORDS = " ".join(["your bicycle is ready and you can collect it tomorrow"] * 4)  # 40 words
_SCRIPT: list[dict[str, Any]] = [
    {"wait_for": "greeting"},
    *([{"caller": "Is my bicycle ready?"}, {"model": _WORDS}] * 2),
    {"caller": "And the other one?"},
    {"tool": TOOL, "arguments": {"order_id": "B-1042"}},
    {"model": _WORDS},
    {"hang_up": True},
]
Event = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """Some frames in a row, as they stand on the wire."""

    wire: bytes
    ends: tuple[int, ...]

    @classmethod
    def of(cls, events: list[Event]) -> Piece:
        """Encode events, with a place for a tag at the end of each id."""
        frames = [frame(_tagged(event)) for event in events]
        ends = [0]
        for one in frames:
            ends.append(ends[-1] + len(one))
        return cls(b"".join(frames), tuple(ends[1:]))

    def tagged(self, number: int) -> bytes:
        """Return the frames, with ids that no other number has."""
        return self.wire.replace(TAG, b"%08x" % number)

    def frames(self, number: int) -> list[bytes]:
        """Return the same, one by one."""
        wire = memoryview(self.tagged(number))
        return [bytes(wire[start:end]) for start, end in pairwise((0, *self.ends))]

    def __len__(self) -> int:
        return len(self.ends)


@dataclass(frozen=True)
class Tape:
    """The pieces that calls are made of."""

    configured: Event
    """`session.updated`"""
    greeting: list[Event]
    """The first response, from `response.created` to what is heard of it."""
    turn: Piece
    """The caller says something, and the model answers."""
    tool_turn: Piece
    """The caller says something, and the model calls a tool."""
    tool_call: Piece
    """The tool call alone."""
    answered: list[Event]
    """What follows the tool's output, of which the first two show it: it begins with the client's own item."""


def frame(payload: bytes) -> bytes:
    """Encode one text frame of a server's (RFC 6455, section 5.2)."""
    size = len(payload)
    short, medium = 126, 65_536
    if size < short:
        return bytes((0x81, size)) + payload
    if size < medium:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


async def record() -> Tape:
    """Play a call on the stand-in, and cut what it sends into pieces."""
    async with asyncio.timeout(SECONDS), serve(options=Options(api_keys=[KEY], speed=200)) as openai:
        call = await openai.place_call(_SCRIPT, webhook=False)
        headers = {"Authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            session = {"type": "realtime", "model": "gpt-realtime", "tools": [_TOOL_SCHEMA]}
            transcription = {"audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}}
            accept = f"{openai.base_url}/realtime/calls/{call.call_id}/accept"
            async with http.post(accept, json=session | transcription) as answer:
                answer.raise_for_status()
            async with http.ws_connect(f"{openai.base_url}/realtime?call_id={call.call_id}") as socket:
                await socket.send_json({"type": "session.update", "session": session})
                await socket.send_json({"type": "response.create"})
                events = [event async for event in _events(socket)]
    return _cut(events)


_TOOL_SCHEMA = {
    "type": "function",
    "name": TOOL,
    "description": "Look up the status of an order.",
    "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
}


async def _events(socket: aiohttp.ClientWebSocketResponse) -> Any:
    tool_call_id = ""
    async for message in socket:
        event = orjson.loads(message.data)
        yield event
        item = event.get("item") or {}
        if event["type"] == "response.output_item.done" and item["type"] == "function_call":
            tool_call_id = item["call_id"]
        if event["type"] == "response.done" and tool_call_id:
            output = {"type": "function_call_output", "call_id": tool_call_id, "output": '{"status":"ready"}'}
            await socket.send_json({"type": "conversation.item.create", "item": output})
            await socket.send_json({"type": "response.create"})
            tool_call_id = ""


def _cut(events: list[Event]) -> Tape:
    (configured,) = (event for event in events if event["type"] == "session.updated")
    after = events[events.index(configured) + 1 :]
    starts = [at for at, event in enumerate(after) if event["type"] == "input_audio_buffer.speech_started"]
    assert len(starts) == 3, f"{len(starts)} turns were recorded"
    greeting, turn, with_tool = after[: starts[0]], after[starts[1] : starts[2]], after[starts[2] :]
    output = next(at for at, event in enumerate(with_tool) if _item_type(event) == "function_call_output")
    asked = with_tool[:output]
    call = next(at for at, event in enumerate(asked) if event["type"] == "response.created")
    return Tape(
        configured=configured,
        greeting=[orjson.loads(_tagged(event)) for event in greeting],
        turn=Piece.of(turn),
        tool_turn=Piece.of(asked),
        tool_call=Piece.of([event for event in asked[call:] if "input_audio_transcription" not in event["type"]]),
        answered=[orjson.loads(_tagged(event)) for event in with_tool[output:]],
    )


def _tagged(event: Event) -> bytes:
    return _ID.sub(rb'"\1' + TAG + b'"', orjson.dumps(event))


def _item_type(event: Event) -> Any:
    return (event.get("item") or {}).get("type")
