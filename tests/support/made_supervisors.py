"""The supervisors that run in a test's own process, looked at from inside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from supervisor import supervisor as under_test
from supervisor.claims import Claim
from supervisor.supervisor import Supervisor

WITHIN_SECONDS = 60.0


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Supervisor]:
    """Give the supervisors that were made, in their order."""
    supervisors: list[Supervisor] = []

    class Seen(Supervisor):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            supervisors.append(self)

    monkeypatch.setattr(under_test, "Supervisor", Seen)
    return supervisors


def held_by(made: list[Supervisor]) -> list[Claim]:
    """Give the claims of all supervisors."""
    return [claim for one in made for claim in one._services.claims._held]


async def state_is(made: list[Supervisor], *, ready: bool) -> None:
    """Wait until /readyz would say so."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while not made or made[0].state().ready is not ready:
            await asyncio.sleep(0.05)  # a state does not tell of changes
