"""A supervisor that was frozen for longer than its lease touches no call when it wakes (architecture.md#invariants)."""

from __future__ import annotations

import asyncio
import signal

from emulator.system import local_system
from sideband._rig import entries
from tests.support.polling import until
from tests.support.processes import STAY, owner_of, seen

CALLS = 20


async def test_a_zombie_hangs_nobody_up() -> None:
    """A supervisor that wakes after its lease, with limits long exceeded, hangs up no call of another's."""
    async with local_system(agent="tests.support.agents:impatient", environment={"LEASE_SECONDS": "10"}) as system:
        await asyncio.gather(system.start_function(), system.start_supervisor("A"))
        calls = [await system.stand_in.place_call([STAY]) for _ in range(CALLS)]
        firsts = [await seen(system, call, "frame_in", "session.update") for call in calls]
        zombie = owner_of(system, calls[0])
        zombie.send(signal.SIGSTOP)
        await system.start_supervisor("B")
        for call, first in zip(calls, firsts, strict=True):
            await seen(system, call, "attach", "attach", after=first.sequence)
        zombie.send(signal.SIGCONT)
        await until(lambda: sum(line.get("message") == "let_go" for line in zombie.lines) >= CALLS)
        assert [entry.who for call in calls for entry in entries(call, "rest", "hangup")] == []
        assert {call.state for call in calls} == {"accepted"}
