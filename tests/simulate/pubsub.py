"""Pub/Sub in the model: one subscription, its leases, quotas, delays and outages.

An ack id is the notice and the number of its delivery: only the newest works, as docs/reference/google-cloud.md says
(#exactly-once-delivery).
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

from simpy import Environment, Event

from tests.simulate.figures import Figures
from tests.simulate.measures import Counts
from tests.simulate.queues import Quota

T = TypeVar("T")

FIRST_LEASE_SECONDS = 10.0  # the subscription's: infra/pubsub.tf
EXPIRY_SECONDS = 0.05  # how often leases that have run out are looked for


@dataclass(eq=False, slots=True)
class Notice(Generic[T]):
    """A message, and its only lease."""

    content: T
    deliveries: int = 0
    leased: bool = False
    deadline: float = 0.0


Lease = tuple[Notice[T], int]
"""A notice, and the number of the delivery that leased it."""


class Latency:
    """How long requests take: a median, with a spread."""

    def __init__(self, random: Random, spread: float) -> None:
        self._random = random
        self._spread = spread

    def of(self, median: float) -> float:
        """Draw one."""
        return median * self._random.lognormvariate(0.0, self._spread) if median else 0.0


class PubSub(Generic[T]):
    """The subscription of calls."""

    def __init__(self, env: Environment, random: Random, figures: Figures, counts: Counts, *, share: float = 1) -> None:
        """Start with no messages; `share` is which part of the quotas this is."""
        self._env = env
        self._random = random
        self._figures = figures
        self._counts = counts
        self.latency = Latency(random, figures.spread)
        self.delivered = Quota(share * figures.delivered_per_minute)
        self.extended = Quota(share * figures.extended_per_minute)
        self.slow_seconds = 0.0
        """What every request takes longer."""
        self.down = False
        """Whether requests get lost, and nothing is delivered."""
        self._ready: deque[Notice[T]] = deque()
        self._pulls: list[tuple[Event, int]] = []
        self._due: defaultdict[int, list[Lease[T]]] = defaultdict(list)
        self._waits_for_quota = False
        self._tick = 0
        env.process(self._expire_forever())

    # What publishers and subscribers ask for.

    def publish(self, notices: Iterable[Notice[T]]) -> None:
        """Have messages delivered; the publisher's own time is not in this."""
        self._ready.extend(notices)
        self._hand_out()

    def pull(self, most: int) -> Event:
        """Wait for at least one message; the event's value is a list of leases."""
        self._counts.add("pulls")
        answer = self._env.event()
        self._pulls.append((answer, most))
        self._hand_out()
        return answer

    def end_pull(self, answer: Event) -> None:
        """Stop waiting; what was under way is left to expire."""
        self._pulls = [pull for pull in self._pulls if pull[0] is not answer]

    def extend(self, leases: Sequence[Lease[T]], seconds: float) -> Event:
        """Let leases run for `seconds` from its arrival; 0 ends them.

        The event's value is whether each lease was alive; None when the quota refused all of them.
        """
        self._counts.add("extensions", len(leases))
        return self._request(lambda: self._extend(leases, seconds))

    def acknowledge(self, lease: Lease[T]) -> Event:
        """End a message; the event's value is whether the lease was alive."""
        return self._request(lambda: self._acknowledge(lease))

    def _request(self, apply: Callable[[], Any]) -> Event:
        """Send a request; its event never happens when the request gets lost."""
        answer = self._env.event()
        self._counts.add("requests")
        seconds = self.latency.of(self._figures.request_seconds) / 2

        def arrive() -> None:
            if not self.down:
                result = apply()
                after(self._env, seconds + self.slow_seconds, lambda: answer.succeed(result))

        if not self.down:
            after(self._env, seconds, arrive)
        return answer

    # What the service does.

    def lease(self, notice: Notice[T]) -> Lease[T]:
        """Lease a message to whoever it is delivered to."""
        notice.deliveries += 1
        notice.leased = True
        notice.deadline = self._env.now + FIRST_LEASE_SECONDS
        self._watch(notice)
        return notice, notice.deliveries

    def set_deadline(self, notice: Notice[T], deadline: float) -> None:
        """Let the present lease run until then."""
        notice.deadline = deadline
        self._watch(notice)

    def _extend(self, leases: Sequence[Lease[T]], seconds: float) -> list[bool] | None:
        if not self.extended.take(self._env.now, len(leases)):
            self._counts.add("refused", len(leases))
            return None
        alive = [_lives(lease) for lease in leases]
        deadline = self._env.now + seconds
        for (notice, _), lives in zip(leases, alive, strict=True):
            if lives and seconds == 0:
                self._end_lease(notice)
            elif lives:
                earlier = deadline < notice.deadline
                notice.deadline = deadline
                if earlier:  # else it is looked at in time, and then again
                    self._watch(notice)
        self._hand_out()
        return alive

    def _acknowledge(self, lease: Lease[T]) -> bool:
        self.extended.take(self._env.now, 1)
        lives = _lives(lease)
        if lives:
            lease[0].leased = False
        return lives

    def _end_lease(self, notice: Notice[T]) -> None:
        """Have a message delivered again; at once, so that no lease ends twice."""
        notice.leased = False
        self._ready.append(notice)

    def _hand_out(self) -> None:
        """Give what is ready to those who wait, in no particular order."""
        while self._ready and self._pulls and not self.down:
            left = int(self.delivered.left(self._env.now))
            if left <= 0:
                self._go_on_later()
                return
            at = self._random.randrange(len(self._pulls))
            self._pulls[at], self._pulls[-1] = self._pulls[-1], self._pulls[at]
            answer, most = self._pulls.pop()
            count = min(most, left, len(self._ready), int(self._figures.pulled_at_once))
            leases = [self.lease(self._ready.popleft()) for _ in range(count)]
            self.delivered.take(self._env.now, count)
            self._counts.add("delivered", count)
            seconds = self.latency.of(self._figures.deliver_seconds) + self.slow_seconds
            after(self._env, seconds, _succeed(answer, leases))

    def _go_on_later(self) -> None:
        """Deliver nothing more before the quota's next minute."""
        if not self._waits_for_quota:
            self._waits_for_quota = True
            after(self._env, Quota.renewed_at(self._env.now) - self._env.now, self._go_on)

    def _go_on(self) -> None:
        self._waits_for_quota = False
        self._hand_out()

    def come_back(self) -> None:
        """End an outage."""
        self.down = False
        self._hand_out()

    def _watch(self, notice: Notice[T]) -> None:
        """Look at the present lease when its time has come."""
        tick = max(math.ceil(notice.deadline / EXPIRY_SECONDS), self._tick + 1)
        self._due[tick].append((notice, notice.deliveries))

    def _expire_forever(self) -> Any:
        """Make ready again whatever was leased for too long."""
        for self._tick in itertools.count(1):
            yield self._env.timeout(self._tick * EXPIRY_SECONDS - self._env.now)
            for lease in self._due.pop(self._tick, ()):
                if not _lives(lease):
                    continue
                if lease[0].deadline > self._env.now:
                    self._watch(lease[0])
                else:
                    self._counts.add("expired")
                    self._end_lease(lease[0])
            self._hand_out()


def _lives(lease: Lease[T]) -> bool:
    notice, delivery = lease
    return notice.leased and notice.deliveries == delivery


def after(env: Environment, seconds: float, action: Callable[[], Any]) -> None:
    """Do something later."""
    timeout = env.timeout(seconds)
    assert timeout.callbacks is not None
    timeout.callbacks.append(lambda _: action())


def _succeed(answer: Event, value: Any) -> Callable[[], Any]:
    return lambda: answer.succeed(value)
