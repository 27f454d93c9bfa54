"""A soak tells a supervisor that gives everything back from one that does not; `make soak` is the long one."""

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from emulator.openai import parse_script
from tests.bench.callers import LIVES_SECONDS, Callers, LogSummary, script
from tests.bench.soak import AGENT, soak
from tests.bench.soak_report import JUDGED_CALLS, SERVED, Sample, Soak, as_json, as_plot
from tests.bench.vitals import Vitals

IDLE = Vitals(calls=0, leases=0, tasks=7, fds=27, threads=14, rss_kb=100_000, pss_kb=80_000, cpu_seconds=1)


def failed(soaked: Soak) -> set[str]:
    """Return what did not hold."""
    return {check.statement for check in soaked.checks if not check.holds}


def soaked(*, kb_per_call: float = 0.0, calls: int = 2 * JUDGED_CALLS + 100, **changed: Any) -> Soak:
    """Return a run that went well, but for what is changed, or the memory that each call keeps."""
    samples = [
        Sample(
            at_seconds=6.0 * number,
            ended=calls * number // 100,
            vitals=replace(IDLE, rss_kb=IDLE.rss_kb + kb_per_call * calls * number / 100),
            stand_in_cpu_seconds=number,
        )
        for number in range(101)
    ]
    callers = Callers(system=None, store=None, random=Random(1))  # type: ignore[arg-type]  # noqa: S311 - places no call
    callers.lives_seconds = [40.0] * calls
    callers.rang_seconds = [0.1] * calls
    logs = LogSummary(ends=Counter(f"rtc_{number}" for number in range(calls)))
    whole = Soak(300, 10.0, 1, before=IDLE, after=IDLE, samples=samples, callers=callers, logs=logs)
    return replace(whole, **changed)


@pytest.mark.parametrize(
    ("agent", "kept"),
    [(AGENT, set()), ("tests.bench.leaky:agent", {"tasks are back", "file descriptors are back"})],
)
async def test_what_calls_leave_is_found(agent: str, kept: set[str]) -> None:
    """What a leaky tool leaves is found: real processes, eight callers at a time, for six seconds."""
    run = await soak(0.1, calls=8, seed=1, agent=agent, speed=30.0)
    assert failed(run) == kept, run.callers.first_faults
    assert not run.callers.faults
    assert len(run.callers.lives_seconds) > 8
    assert max(sample.vitals.leases for sample in run.samples) >= 6
    assert as_json(run)["passed"] == (not kept)


def test_a_good_run_passes() -> None:
    """A run that went well passes."""
    assert not failed(soaked())


def test_growing_memory_is_found() -> None:
    """Memory that grows with the calls is found, if there were enough of them to tell."""
    assert soaked(kb_per_call=5).kb_per_1000_calls == pytest.approx(5000)
    assert failed(soaked(kb_per_call=5)) == {"memory does not grow"}
    assert not failed(soaked(kb_per_call=0.5))
    assert not failed(soaked(kb_per_call=5, calls=JUDGED_CALLS)), "half of them are too few to tell"


@pytest.mark.parametrize("name", ["leases", "tasks", "fds"])
def test_what_is_kept_is_found(name: str) -> None:
    """A lease, a task or a file more after the run than before it is found."""
    more = replace(IDLE, **{name: getattr(IDLE, name) + 1})
    assert len(failed(soaked(after=more))) == 1
    assert not failed(soaked(before=more))


@pytest.mark.parametrize("fault", SERVED)
def test_an_unserved_caller_is_found(fault: str) -> None:
    """A caller who was not served as they should be is found."""
    run = soaked()
    run.callers.faults[fault] += 1
    assert failed(run) == {SERVED[fault]}


def test_wrong_ends_are_found() -> None:
    """A call that the logs end twice, or never, is found."""
    twice, never = soaked(), soaked()
    twice.logs.ends["rtc_0"] += 1
    del never.logs.ends["rtc_0"]
    assert failed(twice) == failed(never) == {"each call was ended once"}


def test_a_lost_lease_is_found() -> None:
    """A lost lease is found, though its caller only rings until it has run out, and is served."""
    assert failed(soaked(after=replace(IDLE, lost_leases=1))) == {"no lease was lost"}


def test_an_error_in_a_log_is_found() -> None:
    """An error that any process logged is found."""
    run = soaked()
    run.logs.errors.append("supervisor: call_failed")
    assert failed(run) == {"no process logged an error"}


def test_callers_are_repeatable() -> None:
    """The same seed gives the same callers, and what they say can be played."""
    first, second = (Random(7) for _ in range(2))  # noqa: S311 - repeatable, not secret
    for _ in range(100):
        steps = script(first)
        assert steps == script(second)
        assert parse_script(steps)
        assert sum(step.get("pause_ms", 0) for step in steps) < LIVES_SECONDS[1] * 1000


def test_what_the_plot_shows() -> None:
    """The plot has a panel for each thing that is watched."""
    panels = as_plot(soaked())["panels"]
    assert {panel["title"] for panel in panels} >= {"Memory RSS", "Calls", "Leases", "Tasks", "File descriptors"}
    assert all(len(panel["x"]) == len(panel["y"]) == 101 for panel in panels)
