"""The messages of one subscription: ready, leased under one number, gone, or dead."""

from __future__ import annotations

from itertools import count

import pytest
from google.pubsub_v1.types import PubsubMessage

from emulator.pubsub.backlog import Backlog, Expiries

LEASE = 10.0


class Shelf:
    """A backlog, and what it announced."""

    def __init__(self, *, max_delivery_attempts: int | None = None, messages: int = 1) -> None:
        self.expiries = Expiries()
        self.announced = 0
        self.backlog = Backlog(
            self.expiries,
            count(1),
            self.announce,
            ack_deadline_seconds=LEASE,
            retention_seconds=100,
            max_delivery_attempts=max_delivery_attempts,
        )
        for number in range(messages):
            self.backlog.add(PubsubMessage(data=str(number).encode()), now=0)

    def announce(self) -> None:
        self.announced += 1

    def pull(self, now: float, limit: int = 10) -> list[tuple[int, bytes]]:
        """Pull messages, as lease numbers and data."""
        return [(number, received.message.data) for number, received in self.backlog.pull(limit, now)]

    def expire(self, now: float) -> None:
        """End all leases that have run out."""
        for number, backlog in self.expiries.due(now):
            backlog.expire(number, now)


def test_a_message_has_one_owner() -> None:
    """A leased message is not pulled again; messages come in their order, up to the limit."""
    shelf = Shelf(messages=3)
    assert shelf.pull(0, limit=2) == [(1, b"0"), (2, b"1")]
    assert shelf.pull(0) == [(3, b"2")]
    assert shelf.pull(0) == []


def test_acknowledge() -> None:
    """An acknowledged message is gone, and its lease with it."""
    shelf = Shelf()
    ((number, _),) = shelf.pull(0)
    assert shelf.backlog.acknowledge(number)
    assert not shelf.backlog.acknowledge(number)
    assert not shelf.backlog.extend(number, 10, now=1)
    shelf.expire(1000)
    assert shelf.pull(1) == []


def test_an_expired_lease() -> None:
    """A message whose lease ran out comes again under a new number; the old one is good for nothing."""
    shelf = Shelf()
    ((old, _),) = shelf.pull(0)
    shelf.expire(LEASE - 0.001)
    assert shelf.pull(1) == []
    shelf.expire(LEASE)
    ((new, _),) = shelf.pull(LEASE)
    assert new != old
    assert (shelf.backlog.extend(old, 10, now=LEASE), shelf.backlog.acknowledge(old)) == (False, False)
    assert shelf.announced == 2


def test_an_extended_lease() -> None:
    """A lease runs from its last extension on; the entries of earlier ones do nothing."""
    shelf = Shelf()
    ((number, _),) = shelf.pull(0)
    assert shelf.backlog.extend(number, 30, now=5)
    shelf.expire(34)
    assert shelf.pull(34) == []
    shelf.expire(35)
    assert len(shelf.pull(35)) == 1


def test_a_nack() -> None:
    """An extension by 0 seconds makes the message ready at once."""
    shelf = Shelf()
    ((number, _),) = shelf.pull(0)
    assert shelf.backlog.extend(number, 0, now=1)
    assert shelf.announced == 2
    assert len(shelf.pull(1)) == 1


def test_a_message_that_is_too_old() -> None:
    """A message beyond the retention is dropped when it is ready, and not while it is leased."""
    shelf = Shelf(messages=2)
    ((held, _),) = shelf.pull(0, limit=1)
    assert shelf.pull(100) == []
    assert shelf.backlog.extend(held, 10, now=100)


@pytest.mark.parametrize("counted", [True, False])
def test_deliveries_are_counted(counted: bool) -> None:
    """With a dead-letter policy deliveries are counted from 1; without one each is 0."""
    shelf = Shelf(max_delivery_attempts=5 if counted else None)
    attempts = []
    for now in range(3):
        ((number, received),) = shelf.backlog.pull(1, now)
        attempts.append(received.delivery_attempt)
        shelf.backlog.extend(number, 0, now)
    assert attempts == ([1, 2, 3] if counted else [0, 0, 0])


def test_a_dead_message() -> None:
    """A message that was delivered too often is dead, for the broker to take, and not ready again."""
    shelf = Shelf(max_delivery_attempts=2)
    for now in range(2):
        ((number, _),) = shelf.pull(now)
        shelf.backlog.extend(number, 0, now)
    assert shelf.pull(3) == []
    assert [delivery.message.data for delivery in shelf.backlog.take_dead()] == [b"0"]
    assert shelf.backlog.take_dead() == []
