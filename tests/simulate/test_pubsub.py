"""Pub/Sub in the model keeps the rules of the service."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from simpy import Environment, Event

from tests.simulate.figures import Figures, load
from tests.simulate.measures import Counts
from tests.simulate.pubsub import FIRST_LEASE_SECONDS, Lease, Notice, PubSub

NEAR = replace(load()[0], deliver_seconds=0.0, request_seconds=0.0, pulled_at_once=100)


def make(figures: Figures = NEAR) -> tuple[Environment, PubSub[str]]:
    env = Environment()
    return env, PubSub(env, Random(1), figures, Counts(env))  # noqa: S311 - a simulation


def leased(env: Environment, pubsub: PubSub[str], most: int = 100) -> list[Lease[str]]:
    """What one pull brings within a second."""
    pull = pubsub.pull(most)
    env.run(until=env.now + 1)
    if not pull.triggered:
        pubsub.end_pull(pull)
        return []
    leases: list[Lease[str]] = pull.value or []
    return leases


def is_leased(notice: Notice[str]) -> bool:
    return notice.leased


def answered(env: Environment, answer: Event) -> object:
    env.run(until=env.now + 1)
    return answer.value if answer.triggered else "no answer"


def test_leased_to_one() -> None:
    """A message is with one subscriber at a time, and no pull brings more than was asked for."""
    env, pubsub = make()
    pubsub.publish(Notice(str(n)) for n in range(5))
    first, second = leased(env, pubsub, 3), leased(env, pubsub, 3)
    assert (len(first), len(second)) == (3, 2)
    assert {notice.content for notice, _ in (*first, *second)} == set("01234")


def test_expiry() -> None:
    """A lease that nobody extends ends in time, and the message is delivered again, once."""
    env, pubsub = make()
    pubsub.publish([Notice("call")])
    ((notice, _),) = leased(env, pubsub)
    pubsub.set_deadline(notice, FIRST_LEASE_SECONDS)  # watched a second time for the same moment
    env.run(until=FIRST_LEASE_SECONDS - 0.1)
    assert is_leased(notice)
    env.run(until=FIRST_LEASE_SECONDS + 0.1)
    assert not is_leased(notice)
    assert leased(env, pubsub) == [(notice, 2)]
    assert leased(env, pubsub) == []


def test_extension() -> None:
    """An extended lease lasts from the request's arrival."""
    env, pubsub = make()
    pubsub.publish([Notice("call")])
    (lease,) = leased(env, pubsub)
    assert answered(env, pubsub.extend([lease], 30)) == [True]
    env.run(until=30.9)
    assert is_leased(lease[0])
    env.run(until=31.2)
    assert not is_leased(lease[0])


def test_newest_ack_id() -> None:
    """After a redelivery only the newest ack id works."""
    env, pubsub = make()
    pubsub.publish([Notice("call")])
    (old,) = leased(env, pubsub)
    assert answered(env, pubsub.extend([old], 0)) == [True]
    (new,) = leased(env, pubsub)
    assert answered(env, pubsub.extend([old, new], 10)) == [False, True]
    assert answered(env, pubsub.acknowledge(old)) is False
    assert answered(env, pubsub.acknowledge(new)) is True
    env.run(until=60)
    assert leased(env, pubsub) == []


def test_quota_refuses() -> None:
    """Extensions over the quota are refused whole, and count until the next minute."""
    env, pubsub = make(replace(NEAR, extended_per_minute=3))
    pubsub.publish(Notice(str(n)) for n in range(4))
    leases = leased(env, pubsub)
    assert answered(env, pubsub.extend(leases, 30)) is None
    assert answered(env, pubsub.extend(leases[:3], 30)) == [True] * 3
    assert answered(env, pubsub.extend(leases[:1], 30)) is None


def test_delivery_quota() -> None:
    """What is over the quota of deliveries waits for the next minute."""
    env, pubsub = make(replace(NEAR, delivered_per_minute=3))
    pubsub.publish(Notice(str(n)) for n in range(5))
    assert len(leased(env, pubsub)) == 3
    pull = pubsub.pull(100)
    env.run(until=59.9)
    assert not pull.triggered
    env.run(until=60.1)
    assert [notice.content for notice, delivery in pull.value or [] if delivery == 1] == ["3", "4"]


def test_outage() -> None:
    """In an outage requests get lost, leases run out, and nothing is delivered; afterwards it is."""
    env, pubsub = make()
    pubsub.publish([Notice("call")])
    (lease,) = leased(env, pubsub)
    pubsub.down = True
    assert answered(env, pubsub.extend([lease], 30)) == "no answer"
    pull = pubsub.pull(1)
    env.run(until=30)
    assert not pull.triggered
    pubsub.come_back()
    env.run(until=30.1)
    assert pull.value == [(lease[0], 2)]


def test_slow_answers() -> None:
    """A slow answer tells of what was done at once."""
    env, pubsub = make()
    pubsub.publish([Notice("call")])
    (lease,) = leased(env, pubsub)
    pubsub.slow_seconds = 3.0
    answer = pubsub.extend([lease], 30)
    env.run(until=env.now + 1)
    assert lease[0].deadline > 30
    assert not answer.triggered
    env.run(until=env.now + 2.1)
    assert answer.value == [True]
