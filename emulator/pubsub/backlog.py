"""The messages of one subscription: each is ready, or leased under one ack id, or gone.

add ──► ready ──pull──► leased ──acknowledge──► gone
          ▲                │
          └── nack, expiry ┴─ too many deliveries ──► dead (for the broker to move)
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.pubsub_v1.types import PubsubMessage, ReceivedMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(slots=True)
class Delivery:
    """A message on its way through one subscription."""

    message: PubsubMessage
    """Shared by all subscriptions of the topic; never changed."""
    published: float
    attempts: int = 0


@dataclass(slots=True)
class _Lease:
    delivery: Delivery
    expires: float


@dataclass(slots=True)
class Alarms:
    """When leases run out, for all backlogs of a broker in one heap.

    A renewed lease gets a new alarm; the old one rings in vain. A lease renewed every third of its length has three.
    """

    _heap: list[tuple[float, int, Backlog]] = field(default_factory=list)

    def set(self, when: float, number: int, backlog: Backlog) -> None:
        """Have `backlog` look at lease `number` at `when`."""
        heapq.heappush(self._heap, (when, number, backlog))

    def due(self, now: float) -> Iterator[tuple[int, Backlog]]:
        """Take the alarms whose time has come, earliest first."""
        while self._heap and self._heap[0][0] <= now:
            _, number, backlog = heapq.heappop(self._heap)
            yield number, backlog

    def next(self) -> float | None:
        """When the next alarm rings."""
        return self._heap[0][0] if self._heap else None


class Backlog:
    """The state of one subscription. Times are in seconds, on the clock that the caller reads `now` from."""

    def __init__(
        self,
        alarms: Alarms,
        numbers: Iterator[int],
        on_ready: Callable[[], None],
        *,
        ack_deadline_seconds: float,
        retention_seconds: float,
        max_delivery_attempts: int | None,
    ) -> None:
        self._alarms = alarms
        self._numbers = numbers  # never repeat within a broker, so neither does an ack id
        self._on_ready = on_ready
        self._ack_deadline_seconds = ack_deadline_seconds
        self._retention_seconds = retention_seconds
        self._max_delivery_attempts = max_delivery_attempts
        self._ready: deque[Delivery] = deque()
        self._leases: dict[int, _Lease] = {}
        self._dead: list[Delivery] = []

    def add(self, message: PubsubMessage, now: float) -> None:
        """Take in a published message."""
        self.put_back(Delivery(message, published=now))

    def pull(self, limit: int, now: float) -> list[tuple[int, ReceivedMessage]]:
        """Lease up to `limit` ready messages; each comes with the number that its ack id is made of.

        Messages older than the retention are dropped here, so one that outlives it while leased stays its owner's.
        """
        pulled: list[tuple[int, ReceivedMessage]] = []
        while self._ready and len(pulled) < limit:
            delivery = self._ready.popleft()
            if now - delivery.published < self._retention_seconds:
                pulled.append(self._lease(delivery, now))
        return pulled

    def _lease(self, delivery: Delivery, now: float) -> tuple[int, ReceivedMessage]:
        number = next(self._numbers)
        delivery.attempts += 1
        self._leases[number] = _Lease(delivery, now + self._ack_deadline_seconds)
        self._alarms.set(now + self._ack_deadline_seconds, number, self)
        attempt = 0 if self._max_delivery_attempts is None else delivery.attempts
        return number, ReceivedMessage(message=delivery.message, delivery_attempt=attempt)

    def acknowledge(self, number: int) -> bool:
        """Forget the message leased under `number`; False when no such lease lives."""
        return self._leases.pop(number, None) is not None

    def extend(self, number: int, seconds: float, now: float) -> bool:
        """Let lease `number` run for `seconds` from now; 0 ends it (a nack). False when no such lease lives."""
        lease = self._leases.get(number)
        if lease is None:
            return False
        lease.expires = now + seconds
        if seconds > 0:
            self._alarms.set(lease.expires, number, self)
        else:
            self.expire(number, now)
        return True

    def expire(self, number: int, now: float) -> None:
        """End lease `number` if its time has run out: the message is ready again, or dead if tried too often."""
        lease = self._leases.get(number)
        if lease is None or lease.expires > now:
            return
        del self._leases[number]
        worn_out = self._max_delivery_attempts is not None and lease.delivery.attempts >= self._max_delivery_attempts
        if worn_out:
            self._dead.append(lease.delivery)
        else:
            self.put_back(lease.delivery)

    def take_dead(self) -> list[Delivery]:
        """Hand over the messages that were delivered too often."""
        dead, self._dead = self._dead, []
        return dead

    def put_back(self, delivery: Delivery) -> None:
        """Make a message ready (again), and say so."""
        self._ready.append(delivery)
        self._on_ready()
