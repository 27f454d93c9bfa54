"""A conversation of the stand-in with a clock of its own, and the recorded order of its events."""

import heapq
import itertools
from collections.abc import Generator, Mapping
from typing import Any

from emulator.openai.options import Options
from emulator.openai.realtime.conversation import Conversation
from emulator.openai.realtime.session import start_session
from emulator.openai.script import Script, parse_script
from tests.support.openai_types import check_server_event

Event = dict[str, Any]


class ConversationDriver:
    """A conversation whose time passes in `run` and `step` alone."""

    def __init__(self, *script: Mapping[str, Any], session: Event | None = None, **options: Any) -> None:
        self.events: list[Event] = []
        self.all_events: list[Event] = []
        self.notes: list[str] = []
        self._now_ms = 0.0
        self._plays: list[tuple[float, int, Generator[float, None, None]]] = []
        self._numbers = itertools.count()
        self.conversation = Conversation(
            start_session("sess_1", 1785287846, {"type": "realtime", **(session or {})}),
            Script(parse_script(script)),
            Options(**options),
            send=self.events.append,
            perform=self.perform,
            note=lambda what, _: self.notes.append(what),
        )

    def perform(self, play: Generator[float, None, None]) -> None:
        """Begin something that takes time; it yields the milliseconds to wait for."""
        delay_ms = next(play, None)
        if delay_ms is not None:
            heapq.heappush(self._plays, (self._now_ms + delay_ms, next(self._numbers), play))

    def step(self) -> bool:
        """Let time pass until the next thing has happened; False if nothing is going on."""
        if not self._plays:
            return False
        self._now_ms, _, play = heapq.heappop(self._plays)
        self.perform(play)
        return True

    def run(self) -> list[str]:
        """Let time pass until nothing is going on; returns what was sent meanwhile."""
        while self.step():
            pass
        return self.drain()

    def run_until(self, event_type: str) -> None:
        """Let time pass until such an event is sent."""
        while not any(event["type"] == event_type for event in self.events):
            assert self.step(), f"{event_type} never came"

    def drain(self) -> list[str]:
        """Check the events since the last time; returns their types."""
        sent = [event["type"] for event in self.events]
        for event in self.events:
            check_server_event(event)
        self.all_events += self.events
        self.events.clear()
        return sent

    def client(self, type_: str, **fields: Any) -> None:
        """Send a client event."""
        self.conversation.receive({"type": type_, **fields})

    def say(self, text: str, transcription: str = "completed") -> None:
        """Let the caller say something."""
        self.perform(self.conversation.hear(text, transcription))

    def last(self, event_type: str) -> Event:
        """Return the last event of this type."""
        return next(event for event in reversed(self.all_events + self.events) if event["type"] == event_type)

    def error(self) -> Event:
        """Return the last error."""
        return dict(self.last("error")["error"])


AUDIO_RESPONSE = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.delta",
    "output_audio_buffer.started",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
    "output_audio_buffer.stopped",
]
CALL_RESPONSE = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]
TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
]
TRANSCRIBED = {"audio": {"input": {"transcription": {"model": "gpt-transcribe"}}}}


def output(call_id: str, text: str = "sunny", **more: Any) -> Event:
    """Return the item that holds a tool's output."""
    return {"type": "function_call_output", "call_id": call_id, "output": text, **more}
