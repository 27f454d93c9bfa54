"""What all stores share."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.records.store import StoreError, gather_all


async def test_gather_all_waits_for_all() -> None:
    """A failure is raised when all work beside it has ended, so that nothing goes on that nobody waits for."""
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
