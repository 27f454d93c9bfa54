"""The messages of one subscription: ready, leased under one ack id, or gone.

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
class Expiries:
    """When leases run out, for all backlogs of a broker.

    A renewed lease gets a new entry; the old one is dropped when it is due. A lease renewed every third of its length
    has three.
    """

    _heap: list[tuple[float, int, Backlog]] = field(default_factory=list)

    def add(self, when: float, number: int, backlog: Backlog) -> None:
        """Note that lease `number` of `backlog` may run out at `when`."""
        heapq.heappush(self._heap, (when, number, backlog))

    def due(self, now: float) -> Iterator[tuple[int, Backlog]]:
        """Take the entries whose time has come, earliest first."""
        while self._heap and self._heap[0][0] <= now:
            _, number, backlog = heapq.heappop(self._heap)
            yield number, backlog

    def next(self) -> float | None:
        """Return when the next entry is due."""
        return self._heap[0][0] if self._heap else None


class Backlog:
    """The messages of one subscription.

    Times are in seconds, on the clock that the caller reads `now` from.
    """

    def __init__(
        self,
        expiries: Expiries,
        numbers: Iterator[int],
        on_ready: Callable[[], None],
        *,
        ack_deadline_seconds: float,
        retention_seconds: float,
        max_delivery_attempts: int | None,
    ) -> None:
        self._expiries = expiries
        self._numbers = numbers  # never repeat within a broker, so neither does an ack id
        self._on_ready = on_ready
        self._ack_deadline_seconds = ack_deadline_seconds
        self._retention_seconds = retention_seconds
        self._max_delivery_attempts = max_delivery_attempts
        self._ready: deque[Delivery] = deque()
        self._leases: dict[int, _Lease] = {}
        self._dead: list[Delivery] = []

    def add(self, message: PubsubMessage, now: float) -> None:
        """Add a published message."""
        self.put_back(Delivery(message, published=now))

    def pull(self, limit: int, now: float) -> list[tuple[int, ReceivedMessage]]:
        """Lease up to `limit` ready messages; each comes with its lease's number.

        Messages older than the retention are dropped here, so a leased one may outlive it.
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
        self._expiries.add(now + self._ack_deadline_seconds, number, self)
        attempt = 0 if self._max_delivery_attempts is None else delivery.attempts
        return number, ReceivedMessage(message=delivery.message, delivery_attempt=attempt)

    def acknowledge(self, number: int) -> bool:
        """Forget the message leased under `number`; False if the lease is lost."""
        return self._leases.pop(number, None) is not None

    def extend(self, number: int, seconds: float, now: float) -> bool:
        """Extend lease `number` to `seconds` from now; False if it is lost.

        0 ends it: a nack.
        """
        lease = self._leases.get(number)
        if lease is None:
            return False
        lease.expires = now + seconds
        if seconds > 0:
            self._expiries.add(lease.expires, number, self)
        else:
            self.expire(number, now)
        return True

    def expire(self, number: int, now: float) -> None:
        """End lease `number` if its time has run out.

        The message is ready again, or dead if it was delivered too often.
        """
        lease = self._leases.get(number)
        if lease is None or lease.expires > now:
            return
        del self._leases[number]
        too_often = self._max_delivery_attempts is not None and lease.delivery.attempts >= self._max_delivery_attempts
        if too_often:
            self._dead.append(lease.delivery)
        else:
            self.put_back(lease.delivery)

    def take_dead(self) -> list[Delivery]:
        """Hand over the messages that were delivered too often."""
        dead, self._dead = self._dead, []
        return dead

    def put_back(self, delivery: Delivery) -> None:
        """Make a message ready again, and announce it."""
        self._ready.append(delivery)
        self._on_ready()
