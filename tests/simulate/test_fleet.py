"""A fleet in the model: every call is in one place, none has two owners, and times are what arithmetic says."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulate.figures import load
from tests.simulate.fleet import Fleet, Result
from tests.simulate.pubsub import after
from tests.simulate.scenarios import (
    STRIKE_AT,
    Disturb,
    many_ring,
    nothing,
    processes_crash,
    pubsub_is_out,
    pubsub_is_slow,
    rolls_out,
    zone_dies,
)
from tests.simulate.world import Plan, TwoWritersError

FIGURES = load()[0]
SMALL = Plan(calls=600, supervisors=6, max_calls=160, share=0.006, databases=12)
DISTURBANCES: list[Disturb] = [
    zone_dies,
    processes_crash,
    partial(rolls_out, waves=2),
    pubsub_is_slow,
    partial(pubsub_is_out, seconds=25),
    many_ring,
]


def run(plan: Plan, disturb: Disturb, seconds: float, *, seed: int = 1) -> tuple[Fleet, Result]:
    fleet = Fleet(FIGURES, plan, seed=seed)
    disturb(fleet)
    fleet.run(seconds)
    return fleet, fleet.result()


@settings(max_examples=15, deadline=None)
@given(
    disturbances=st.lists(st.sampled_from(DISTURBANCES), max_size=3),
    lease_seconds=st.sampled_from([10, 15, 30]),
    max_calls=st.sampled_from([90, 110, 160]),
    seed=st.integers(0, 1000),
)
def test_one_place(disturbances: list[Disturb], lease_seconds: int, max_calls: int, seed: int) -> None:
    """Whatever happens, every call is in one place, and no two processes may write to it."""
    fleet = Fleet(FIGURES, replace(SMALL, lease_seconds=lease_seconds, max_calls=max_calls), seed=seed)
    for disturb in disturbances:
        disturb(fleet)
    fleet.run(120)  # which looks every second whether the books balance, and at each attach for a second writer
    books = fleet.world.books
    assert books.balanced
    held = [claim for supervisor in fleet.supervisors if supervisor.alive for claim in supervisor.claims]
    assert len({claim.notice for claim in held}) == len(held)
    assert books.served <= len(held) <= books.served + books.alone + books.ringing + len(books.changes)


def test_a_late_fence_is_seen() -> None:
    """Two writers are noticed: here nobody renews, and claims are trusted for longer than leases last."""
    with pytest.raises(TwoWritersError):
        run(replace(SMALL, renewals_per_lease=0.01, fence_seconds=-30.0, lease_seconds=10), nothing, 60)


def test_same_seed() -> None:
    """The same seed gives the same result, another one another."""
    first, second, other = (run(SMALL, zone_dies, 90, seed=seed)[1] for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_steady() -> None:
    """Where nothing happens nobody is alone, and callers wait for the sum of the times on their way."""
    _, result = run(SMALL, nothing, 120)
    assert result["alone"]["count"] == result["refused"] == result["rang_out"] == 0
    times = FIGURES.publish_seconds, FIGURES.deliver_seconds, FIGURES.request_seconds, FIGURES.store_seconds
    assert result["answer"]["p50"] == pytest.approx(
        sum((*times, FIGURES.accept_seconds, FIGURES.attach_seconds)), rel=0.1
    )


@pytest.mark.parametrize("lease_seconds", [10, 20, 60])
def test_extensions(lease_seconds: int) -> None:
    """Every call is extended three times in each lease; a new one once more at first, and acknowledged in the end."""
    renewals = 600 * 3 * 60 / lease_seconds
    rings = 600 / FIGURES.call_seconds * 60
    _, result = run(replace(SMALL, lease_seconds=lease_seconds, share=1), nothing, 180)
    assert result["extended_per_minute"] == pytest.approx(renewals + 2 * rings, rel=0.1)


@pytest.mark.parametrize("lease_seconds", [10, 30])
def test_machine_dies(lease_seconds: int) -> None:
    """After the death of a machine its calls are alone for what was left of their leases, and an attach."""
    _, result = run(replace(SMALL, lease_seconds=lease_seconds), zone_dies, 100)
    assert result["alone"]["count"] > 150
    assert 2 / 3 * lease_seconds < result["alone"]["p50"] < lease_seconds + 1.5
    assert result["alone"]["most"] < lease_seconds + 5


def test_process_crashes() -> None:
    """After a crash the guardian gives the calls back, and the lease does not matter."""
    _, result = run(replace(SMALL, lease_seconds=60), processes_crash, 60)
    assert result["alone"]["count"] > 80
    assert result["alone"]["p99"] < 3.5


def test_hand_over_is_heard() -> None:
    """In a hand-over somebody listens at every moment."""
    _, result = run(SMALL, partial(rolls_out, waves=2), 120)
    assert result["alone"]["count"] > 500
    assert result["deaf"]["most"] == 0


@pytest.mark.parametrize(("seconds", "unnoticed"), [(8, True), (25, False)])
def test_outage(seconds: float, unnoticed: bool) -> None:
    """An outage shorter than two thirds of the lease, less the fence, is not noticed by calls in hand."""
    _, result = run(replace(SMALL, lease_seconds=20), partial(pubsub_is_out, seconds=seconds), 90)
    assert (result["alone"]["count"] == 0) == unnoticed


def test_no_room() -> None:
    """Where all slots are taken, callers are refused once their time is up; and nobody rings out."""
    _, result = run(replace(SMALL, max_calls=105), many_ring, 90)
    assert result["refused"] > 100
    assert result["rang_out"] == 0
    assert result["refusal"]["p50"] >= SMALL.answer_seconds
    assert result["fullest"] == 105


def test_slow_function() -> None:
    """A burst of three times what the function answers waits there, until there are more instances."""

    def burst(fleet: Fleet) -> None:
        def ring() -> None:
            fleet.rings_per_second = 3 * fleet.figures.function_requests_per_second

        after(fleet.env, STRIKE_AT, ring)

    figures = replace(FIGURES, function_requests_per_second=60)
    fleet = Fleet(figures, Plan(calls=1800, supervisors=10, max_calls=2000, databases=100))
    burst(fleet)
    fleet.run(STRIKE_AT + 20)
    longer_each_second = 2  # three come while one is answered
    most = fleet.result()["stages"]["function"]["most"]
    assert most == pytest.approx(longer_each_second * FIGURES.scale_seconds, rel=0.3)


def test_quota_collapse() -> None:
    """More calls than the quota of extensions holds at this lease lose their owners."""
    per_minute = 600 * 18 * 0.5
    figures = replace(FIGURES, extended_per_minute=per_minute)
    fleets = [Fleet(figures, replace(SMALL, share=1, lease_seconds=lease)) for lease in (10, 30)]
    for fleet in fleets:
        fleet.run(90)
    short, long = (fleet.world.books for fleet in fleets)
    assert short.alone + len(short.changes) > 100
    assert long.alone + len(long.changes) == 0
