"""Why a call ended, where its owner has changed or heard nothing of the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from sideband import Incoming
from sideband._rig import Rig, entries, rig
from supervisor.outcomes import EndReason
from tests.support.polling import until
from tests.support.rigged import STAY, agent, crash_first, stop_first

if TYPE_CHECKING:
    from emulator.openai import Call

SESSION_SECONDS = 4


@pytest.mark.parametrize("leave", [crash_first, stop_first], ids=["crash", "hand-over"])
async def test_gone_before_the_next_owner(leave: Callable[[Rig], Awaitable[None]]) -> None:
    """A caller who is gone before any owner has accepted is missed, also by a later owner."""
    deciding = agent()
    began = asyncio.Event()

    @deciding.incoming
    async def decide(_incoming: Incoming) -> None:
        if not began.is_set():
            began.set()
            await asyncio.Event().wait()

    async with rig(deciding) as rigged:
        call = await rigged.ring([])
        await began.wait()
        call.hang_up()
        await leave(rigged)
        rigged.supervise(deciding)
        record = await rigged.ended(call)
    assert (record.end_reason, record.epoch) == (EndReason.MISSED, 2)


async def expiry_is_kept(rigged: Rig, call: Call) -> None:
    """Wait until the store knows when the session ends."""

    async def kept() -> bool:
        record = await rigged.store.read(call.call_id)
        return record is not None and record.expires_at is not None

    await until(kept)


async def test_expired_between_two_owners() -> None:
    """A session that was due to end while nobody was attached has expired."""
    async with rig(agent(), options={"session_seconds": SESSION_SECONDS}) as rigged:
        call = await rigged.ring([STAY])
        await expiry_is_kept(rigged, call)
        await crash_first(rigged)
        await call.ended(timeout_seconds=30)
        rigged.supervise(agent())
        record = await rigged.ended(call)
    assert (record.end_reason, record.epoch) == (EndReason.SESSION_EXPIRED, 2)


async def test_expired_without_a_word() -> None:
    """A session whose last event is lost has expired all the same, when that was due."""
    async with rig(agent(), options={"session_seconds": SESSION_SECONDS}) as rigged:
        rigged.stand_in.inject({"fault": "cut", "on_server_event": "error"})
        call = await rigged.ring([STAY])
        record = await rigged.ended(call)
        assert entries(call, "frame_lost", "error")
    assert record.end_reason is EndReason.SESSION_EXPIRED


async def test_gone_before_the_limit() -> None:
    """A caller who leaves between two owners, long before the session's limit, has hung up."""
    async with rig(agent()) as rigged:
        call = await rigged.ring([STAY])
        await expiry_is_kept(rigged, call)
        await crash_first(rigged)
        call.hang_up()
        rigged.supervise(agent())
        record = await rigged.ended(call)
    assert record.end_reason is EndReason.CALLER_HUNG_UP
