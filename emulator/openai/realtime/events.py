"""Server events: how they are sent, and their deltas."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, Protocol

from emulator.openai.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator.openai.options import Options


class Emit(Protocol):
    """Sends a server event."""

    def __call__(self, type: str, /, **fields: Any) -> None:  # noqa: A002 - the event's own word
        """Send an event of this type with these fields."""


def emitter(send: Callable[[dict[str, Any]], None], options: Options) -> Emit:
    """Make a function that sends events, each with an id."""

    def emit(type: str, /, **fields: Any) -> None:  # noqa: A002 - the event's own word
        event = {"type": type, "event_id": new_id("event"), **fields}
        if options.novelties:
            event["x_novelty"] = {"since": "tomorrow"}
        send(event)

    return emit


def words(text: str) -> list[str]:
    """Cut a text into words, for deltas of speech."""
    return re.findall(r"\s*\S+\s*$|\s*\S+", text) or [text]


def chunks(text: str, size: int = 6) -> list[str]:
    """Cut a text into pieces of one size, for deltas of arguments."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def obfuscation() -> str:
    """Make the padding that hides a delta's length (openai-realtime.md#server-events)."""
    return secrets.token_hex(4)
