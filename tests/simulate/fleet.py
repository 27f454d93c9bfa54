"""A whole fleet: callers, the function, Pub/Sub, supervisors; and what can happen to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any, TypedDict

from simpy import Environment

from tests.simulate.figures import Figures
from tests.simulate.measures import Spread, spread
from tests.simulate.pubsub import Notice, after
from tests.simulate.queues import Queue
from tests.simulate.supervisor import Process, Supervisor
from tests.simulate.world import Call, Claim, Plan, World

STAGES = {
    "function": ("rang_at", "published_at"),
    "Pub/Sub": ("published_at", "delivered_at"),
    "first renewal": ("delivered_at", "confirmed_at"),
    "core, record": ("confirmed_at", "opened_at"),
    "accept, attach": ("opened_at", "answered_at"),
}
"""What a caller waits for, one after the other."""


class Result(TypedDict):
    """What one run shows; times are in seconds."""

    rang: int
    refused: int
    rang_out: int
    answer: Spread
    """From the ring to the attach, for calls that rang in this run."""
    refusal: Spread
    """From the ring to the refusal."""
    stages: dict[str, Spread]
    alone: Spread
    """How long living calls had nobody who may write."""
    deaf: Spread
    """How long nobody listened to them."""
    alone_at_end: int
    ringing_at_end: int
    fenced: float
    passed_on: float
    delivered_per_minute: int
    """The most in a minute, refused ones included; so for the next."""
    extended_per_minute: int
    refused_extensions: float
    documents_per_second: float
    attaches_per_second: float
    fullest: int
    """Calls of the supervisor that had the most."""
    series: dict[str, list[float]]
    """By the second."""


class Fleet:
    """Supervisors with calls, and callers who ring."""

    def __init__(self, figures: Figures, plan: Plan, *, seed: int = 1, function_instances: int | None = None) -> None:
        """Start all supervisors, full of calls where the plan says so."""
        self.env = Environment()
        self.figures, self.plan = figures, plan
        self.world = World(self.env, Random(seed), figures, plan)  # noqa: S311 - a model, no secret
        self.supervisors: list[Supervisor] = []
        self.rings_per_second = plan.calls / figures.call_seconds if plan.starts_full else 0.0
        self._fullest = 0
        self._levels: dict[str, list[float]] = {"ringing": [], "alone": [], "served": []}
        self._function = Queue(function_instances or self._instances_wanted())
        self._core = Queue(1) if plan.one_core else None
        for number in range(plan.supervisors):
            self.start(zone=number % plan.zones)
        if plan.starts_full:
            self._fill()
        self.env.process(self._ring_forever())
        self.env.process(self._scale_forever())
        self.env.process(self._look_forever())

    def start(self, *, zone: int = 0, max_calls: int | None = None) -> Supervisor:
        """Start a supervisor, with the plan's slots unless others are given."""
        core, slots = self._core or Queue(1), max_calls or self.plan.max_calls
        supervisor = Supervisor(self.world, zone=zone, core=core, max_calls=slots)
        self.supervisors.append(supervisor)
        return supervisor

    def start_later(self, seconds: float, *, zone: int) -> None:
        """Start a supervisor after some time."""
        after(self.env, seconds, lambda: self.start(zone=zone))

    def _fill(self) -> None:
        """Give each supervisor its part of the calls."""
        for number in range(self.plan.calls):
            supervisor = self.supervisors[number % len(self.supervisors)]
            notice = Notice(self._call())
            claim = Claim(*self.world.pubsub.lease(notice), supervisor.settle)
            self.world.pubsub.set_deadline(notice, self.plan.lease_seconds)
            claim.write_until = self.plan.lease_seconds - self.plan.fence_seconds
            supervisor.claims[claim] = None
            self.world.books.attach(claim)
        self.world.books.answered.clear()
        self.world.counts.clear()

    # Callers, and the function.

    def _ring_forever(self) -> Process:
        while True:
            if self.rings_per_second <= 0:
                yield self.env.timeout(1)
                continue
            yield self.env.timeout(self.world.random.expovariate(self.rings_per_second))
            self.ring()

    def ring(self) -> None:
        """Have a caller ring, and the function publish the notice."""
        call = self._call()
        pubsub = self.world.pubsub
        wait_seconds = self._function.join(self.env.now, 1 / self.figures.function_requests_per_second)
        wait_seconds += pubsub.latency.of(self.figures.publish_seconds) + pubsub.slow_seconds
        after(self.env, wait_seconds, lambda: self._publish([call]))

    def ring_together(self, calls: int) -> None:
        """Publish so many notices in one request, without the function."""
        rung = [self._call() for _ in range(calls)]
        after(self.env, self.world.pubsub.latency.of(self.figures.publish_seconds), lambda: self._publish(rung))

    def _call(self) -> Call:
        self.world.counts.add("rings")
        call = Call(rang_at=self.env.now, seconds=self.world.random.expovariate(1 / self.figures.call_seconds))
        self.world.books.ring(call)
        return call

    def _publish(self, calls: Sequence[Call]) -> None:
        for call in calls:
            call.published_at = self.env.now
        self.world.pubsub.publish([Notice(call) for call in calls])

    def _instances_wanted(self) -> int:
        busy = self.rings_per_second / self.figures.function_requests_per_second
        return max(1, math.ceil(busy / self.figures.busy_share))

    def _scale_forever(self) -> Process:
        """Add instances to the function where it has too few, some seconds later."""
        while True:
            yield self.env.timeout(1)
            missing = self._instances_wanted() - self._function.servers
            if missing > 0:
                yield self.env.timeout(self.figures.scale_seconds)
                self._function.add(missing, self.env.now)

    # Look.

    def _look_forever(self) -> Process:
        """Look at levels once a second."""
        books = self.world.books
        while True:
            for name, value in (("ringing", books.ringing), ("alone", books.alone), ("served", books.served)):
                self._levels[name].append(value)
            self._fullest = max(self._fullest, max((len(one.claims) for one in self.supervisors), default=0))
            assert books.balanced, books
            yield self.env.timeout(1)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.env.run(until=self.env.now + seconds)

    def result(self) -> Result:
        """Sum up what has happened so far."""
        seconds = int(self.env.now)
        world, books = self.world, self.world.books
        counts = world.counts
        return {
            "rang": int(counts.total("rings")),
            "refused": len(books.refused_seconds),
            "rang_out": books.rang_out,
            "answer": spread([_between(call, "rang_at", "answered_at") for call in books.answered]),
            "refusal": spread(books.refused_seconds),
            "stages": {
                stage: spread([_between(call, *ends) for call in books.answered]) for stage, ends in STAGES.items()
            },
            "alone": spread([change.alone_seconds for change in books.changes]),
            "deaf": spread([change.deaf_seconds for change in books.changes]),
            "alone_at_end": books.alone,
            "ringing_at_end": books.ringing,
            "fenced": counts.total("fenced"),
            "passed_on": counts.total("passed on"),
            "delivered_per_minute": world.pubsub.delivered.peak,
            "extended_per_minute": world.pubsub.extended.peak,
            "refused_extensions": counts.total("refused"),
            "documents_per_second": counts.busiest_second("documents"),
            "attaches_per_second": counts.busiest_second("attaches"),
            "fullest": self._fullest,
            "series": {
                **self._levels,
                **{what: counts.series(what, seconds) for what in ("delivered", "extensions", "documents", "attaches")},
            },
        }


def _between(call: Call, first: str, last: str) -> float:
    earlier: Any = getattr(call, first)
    later: Any = getattr(call, last)
    return float(later - earlier)
