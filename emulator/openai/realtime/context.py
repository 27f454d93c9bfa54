"""What the parts of one conversation share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from emulator.openai.options import Options
    from emulator.openai.realtime.events import Emit
    from emulator.openai.realtime.items import History
    from emulator.openai.realtime.session import Session
    from emulator.openai.realtime.tool_calls import ToolCalls
    from emulator.openai.realtime.usage import Meter


class Perform(Protocol):
    """Gives time to what takes time."""

    def __call__(self, play: Generator[float, None, None], /) -> None:
        """Run a play to its first yield now, then on as time passes."""


@dataclass(eq=False)
class Context:
    """What the parts of one conversation read, write and send with."""

    conversation_id: str
    session: Session
    """Replaced whole by `session.update`, never changed."""
    options: Options
    emit: Emit
    perform: Perform
    history: History
    tool_calls: ToolCalls
    meter: Meter
