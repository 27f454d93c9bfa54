"""Short runs under chaos; the long one is `make chaos CALLS=500 SECONDS=120 SUPERVISORS=3`."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.oracle import COUNTERS, Judgement
from tests.chaos.plan import Fault, PlacedCall, Plan, make_plan
from tests.chaos.run import run

LEASE_SECONDS = 10
SLOW_TOOL: list[dict[str, Any]] = [
    {"caller": "Please."},
    {"tool": "pay", "arguments": {"ms": 6000}},
    {"pause_ms": 32_000},
    {"hang_up": "now"},
]


def explained(judgement: Judgement) -> str:
    return "\n".join(judgement.violations)


def test_a_plan_is_made_by_its_seed_alone() -> None:
    plan_of = partial(make_plan, calls=50, seconds=60.0, supervisors=3, every_seconds=6.0)
    assert plan_of(seed=1) == plan_of(seed=1)
    assert plan_of(seed=1) != plan_of(seed=2)


@pytest.mark.timeout(180)
async def test_no_call_is_lost_whatever_is_done_to_supervisors(tmp_path: Path) -> None:
    """Every kind of fault once; all counters stay at 0, and the gaps within the lease."""
    plan = make_plan(seed=1, calls=25, seconds=30, supervisors=2, every_seconds=2.5)
    judgement = await run(plan, folder=tmp_path, supervisors=2, lease_seconds=LEASE_SECONDS)
    assert {name: judgement.counters[name] for name in COUNTERS} == dict.fromkeys(COUNTERS, 0), explained(judgement)
    assert max(judgement.crash_gaps_ms, default=0) <= (LEASE_SECONDS + 2) * 1000
    assert max(judgement.handover_gaps_ms, default=0) <= 1000


@pytest.mark.timeout(180)
async def test_without_fencing_the_oracle_sees_two_writers(tmp_path: Path) -> None:
    calls = [PlacedCall(0.3 * number, SLOW_TOOL, announced_twice=False) for number in range(8)]
    plan = Plan(calls, [Fault(3.5, "freeze", 0)])
    judgement = await run(plan, folder=tmp_path, supervisors=2, lease_seconds=LEASE_SECONDS, broken="fencing")
    assert judgement.counters["two_writers"] > 0
    assert not judgement.passed


@pytest.mark.timeout(180)
async def test_without_the_journal_the_oracle_sees_tool_calls_that_nobody_answers(tmp_path: Path) -> None:
    calls = [PlacedCall(0.2 * number, SLOW_TOOL, announced_twice=False) for number in range(4)]
    plan = Plan(calls, [Fault(5.0, "kill", 0)])
    judgement = await run(plan, folder=tmp_path, supervisors=1, lease_seconds=LEASE_SECONDS, broken="journal")
    assert judgement.counters["unanswered_tools"] > 0
    assert not judgement.passed
