"""Short runs under chaos; the long one is `make chaos CALLS=500 SECONDS=120 SUPERVISORS=3`."""

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.evidence import Evidence
from tests.chaos.oracle import Judgement, judge
from tests.chaos.plan import LEASE_SECONDS, Fault, PlacedCall, Plan, make_plan
from tests.chaos.report import excerpt, one_line
from tests.chaos.run import run

SLOW_TOOL: list[dict[str, Any]] = [
    {"caller": "Please."},
    {"tool": "pay", "arguments": {"ms": 6000}},
    {"pause_ms": 36_000},
    {"hang_up": "now"},
]

PATIENT: list[dict[str, Any]] = [{"caller": "Hello."}, {"pause_ms": 18_000}, {"hang_up": "now"}]

ASKED_AGAIN: list[dict[str, Any]] = [
    *SLOW_TOOL[:2],
    {"pause_ms": 20_000},
    {"caller": "And again, please."},
    {"tool": "look", "arguments": {"ms": 500}},
    {"pause_ms": 3_000},
    {"hang_up": "now"},
]

pytestmark = pytest.mark.timeout(240)


def explained(judgement: Judgement, evidence: Evidence) -> str:
    """Return the first violations, each with its moment in the call."""
    return "\n".join(line for v in judgement.violations[:3] for line in (one_line(v), *excerpt(v, evidence)))


async def test_calls_outlive_chaos(tmp_path: Path) -> None:
    """Every kind of fault strikes once, and no invariant is broken."""
    plan = make_plan(seed=1, calls=25, seconds=25, supervisors=3)
    evidence = await run(plan, folder=tmp_path)
    judgement = judge(evidence)
    assert judgement.passed, explained(judgement, evidence)
    assert judgement.calls == 25
    assert judgement.tool_calls > 25
    assert len(judgement.gaps) > 2


async def test_missing_fencing_is_seen(tmp_path: Path) -> None:
    """An owner that was frozen for longer than its lease goes on writing when it wakes."""
    calls = [PlacedCall(0.2 * number, ASKED_AGAIN) for number in range(8)]
    plan = Plan(calls, [Fault(3.5, "freeze", 0, LEASE_SECONDS + 4)])
    judgement = judge(await run(plan, folder=tmp_path, supervisors=2, broken="fencing"))
    assert judgement.counters["two_writers"] > 0
    assert not judgement.passed


async def test_a_missing_handover_is_seen(tmp_path: Path) -> None:
    """An owner that stops without giving its claims back leaves the next one to wait for the lease."""
    calls = [PlacedCall(0.2 * number, PATIENT) for number in range(4)]
    plan = Plan(calls, [Fault(4, "restart", 0)])
    judgement = judge(await run(plan, folder=tmp_path, supervisors=1, broken="handover"))
    assert judgement.counters["slow_takeovers"] > 0
    assert not judgement.passed


async def test_a_missing_journal_is_seen(tmp_path: Path) -> None:
    """The next owner cannot know which tool the killed one was to run, and leaves it unanswered."""
    calls = [PlacedCall(0.2 * number, SLOW_TOOL) for number in range(4)]
    plan = Plan(calls, [Fault(4.5, "kill", 0, 1)])
    judgement = judge(await run(plan, folder=tmp_path, supervisors=1, broken="journal"))
    assert judgement.counters["unanswered_tools"] > 0
    assert not judgement.passed
