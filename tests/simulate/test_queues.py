"""Queues and quotas agree with what is known in closed form."""

from __future__ import annotations

import math
from random import Random

import pytest

from tests.simulate.queues import Queue, Quota

JOINS = 200_000


def mean_wait(servers: int, *, arrivals: float, service_seconds: float | None, seed: int = 1) -> float:
    """The mean wait of customers who come at random; their service lasts one second on average unless it is fixed."""
    random, queue, now, waited = Random(seed), Queue(servers), 0.0, 0.0  # noqa: S311 - a simulation
    for _ in range(JOINS):
        now += random.expovariate(arrivals)
        service = random.expovariate(1.0) if service_seconds is None else service_seconds
        waited += queue.join(now, service) - service
    return waited / JOINS


def erlang_c_wait(servers: int, load: float) -> float:
    """The mean wait in M/M/c with a mean service of one second, by Erlang's formula."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**n / math.factorial(n) for n in range(servers)) + last) / (servers - load)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (1, 0.8), (4, 3.0), (20, 17.0)])
def test_random_service(servers: int, load: float) -> None:
    """With random arrivals and services, the mean wait is Erlang's (M/M/c)."""
    assert mean_wait(servers, arrivals=load, service_seconds=None) == pytest.approx(
        erlang_c_wait(servers, load), rel=0.05
    )


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
def test_fixed_service(load: float) -> None:
    """With random arrivals and a fixed service, the mean wait is Pollaczek's and Khinchine's (M/D/1)."""
    assert mean_wait(1, arrivals=load, service_seconds=1.0) == pytest.approx(load / (2 * (1 - load)), rel=0.05)


def test_all_at_once() -> None:
    """Those who come together are served one after the other by each server."""
    queue = Queue(2)
    assert [queue.join(5.0, 1.0) for _ in range(5)] == [1.0, 1.0, 2.0, 2.0, 3.0]


def test_added_servers() -> None:
    """An added server takes the next one."""
    queue = Queue(1)
    assert queue.join(0.0, 10.0) == 10.0
    queue.add(1, now=2.0)
    assert queue.join(2.0, 1.0) == 1.0


def test_quota_of_a_minute() -> None:
    """A quota refuses what would exceed it, whole, and begins anew with each minute."""
    quota = Quota(100)
    assert quota.take(0.0, 60)
    assert not quota.take(59.0, 41)
    assert quota.take(59.0, 40)
    assert quota.left(59.9) == 0
    assert quota.take(Quota.renewed_at(59.9), 100)
    assert quota.peak == 141
