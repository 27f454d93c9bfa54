"""What all stores share."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.records.store import StoreError, gather_all


async def test_a_failure_is_told_when_all_that_was_done_beside_it_has_ended() -> None:
    """So that nothing is under way that nobody waits for."""
    ended: list[str] = []

    async def fail() -> None:
        raise StoreError("down")

    async def end() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        ended.append("end")

    with pytest.raises(StoreError, match="down"):
        await gather_all([end(), fail(), end()])
    assert ended == ["end", "end"]
