"""What tests on real processes share: what OpenAI sees of a call, and which process owns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sideband._rig import entries

if TYPE_CHECKING:
    from emulator.openai import Call, Entry
    from emulator.system import Process, System

CALL_SECONDS = 60.0
STAY: dict[str, Any] = {"pause_ms": 60_000}
"""Says nothing more, and does not hang up."""


async def seen(system: System, call: Call, kind: str, type_: str, *, after: int = 0, who: str = "") -> Entry:
    """Wait until OpenAI has seen something of a call."""
    return await system.stand_in.log.wait_for(
        lambda entry: (
            entry.call_id == call.call_id and entry.kind == kind and entry.type == type_ and entry.who.endswith(who)
        ),
        after=after,
        timeout_seconds=CALL_SECONDS,
    )


def owner_of(system: System, call: Call) -> Process:
    """Give the process that attached last."""
    who = entries(call, "attach")[-1].who
    return next(process for process in system.processes if who.endswith(f"-{process.pid})"))
