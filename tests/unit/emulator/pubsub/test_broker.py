"""The broker on a clock that the test turns: what takes minutes or hours, to the second."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.api_core import exceptions
from google.pubsub_v1.types import (
    AcknowledgeRequest,
    DeadLetterPolicy,
    DeleteTopicRequest,
    ExpirationPolicy,
    ModifyAckDeadlineRequest,
    PublishRequest,
    PubsubMessage,
    PullRequest,
    ReceivedMessage,
    Subscription,
    Topic,
)

from emulator.pubsub.broker import Broker

TOPIC = "projects/here/topics/calls"
DEAD = "projects/here/topics/dead"
CLAIMS = "projects/here/subscriptions/claims"


class World:
    """A broker with one topic, and its clock."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.news = 0
        self.broker = Broker(lambda: self.now, self.hear)
        self.broker.create_topic(Topic(name=TOPIC))

    def hear(self) -> None:
        self.news += 1

    def subscribe(self, name: str = CLAIMS, **settings: object) -> Subscription:
        wanted = {"enable_exactly_once_delivery": True, "ack_deadline_seconds": 10} | settings
        return self.broker.create_subscription(Subscription(name=name, topic=TOPIC, **wanted))

    def publish(self, data: bytes = b"call") -> None:
        self.broker.publish(PublishRequest(topic=TOPIC, messages=[PubsubMessage(data=data)]))

    def pull(self, name: str = CLAIMS, limit: int = 10) -> list[ReceivedMessage]:
        return list(self.broker.pull(PullRequest(subscription=name, max_messages=limit)).received_messages)

    def extend(self, *ack_ids: str, seconds: int) -> None:
        self.broker.modify_ack_deadline(
            ModifyAckDeadlineRequest(subscription=CLAIMS, ack_ids=list(ack_ids), ack_deadline_seconds=seconds)
        )

    def acknowledge(self, *ack_ids: str) -> None:
        self.broker.acknowledge(AcknowledgeRequest(subscription=CLAIMS, ack_ids=list(ack_ids)))


@pytest.fixture
def world() -> World:
    return World()


def test_a_lease_lasts_to_its_last_moment(world: World) -> None:
    """A lease that is renewed a moment before its end goes on; one that is not is over at the end."""
    world.subscribe()
    world.publish()
    [held] = world.pull()
    world.now += 9.999
    assert world.pull() == []
    world.extend(held.ack_id, seconds=600)
    world.now += 599.999
    assert world.pull() == []
    world.now += 0.001
    with pytest.raises(exceptions.InvalidArgument):
        world.extend(held.ack_id, seconds=10)
    [successor] = world.pull()
    assert successor.message == held.message


def test_a_lease_can_be_shortened(world: World) -> None:
    """A lease can be shortened; the alarm of the longer one has no effect."""
    world.subscribe()
    world.publish()
    [held] = world.pull()
    world.extend(held.ack_id, seconds=1)
    world.now += 1
    [successor] = world.pull()
    world.extend(successor.ack_id, seconds=60)
    world.now += 9
    world.broker.expire_leases()
    world.acknowledge(successor.ack_id)


def test_next_expiry(world: World) -> None:
    """The broker says when the next lease runs out."""
    world.subscribe()
    assert world.broker.next_expiry() is None
    world.publish()
    [held] = world.pull()
    assert world.broker.next_expiry() == world.now + 10
    world.extend(held.ack_id, seconds=3)
    assert world.broker.next_expiry() == world.now + 3


def test_alarms_do_not_pile_up(world: World) -> None:
    """A lease that is renewed for an hour keeps three alarms at most, and none when it is gone."""
    world.subscribe()
    world.publish()
    [held] = world.pull()
    for _ in range(720):
        world.extend(held.ack_id, seconds=15)
        world.now += 5
        world.broker.expire_leases()
        assert len(world.broker._expiries._heap) <= 4
    world.acknowledge(held.ack_id)
    world.now += 15
    world.broker.expire_leases()
    assert world.broker.next_expiry() is None


def test_waiting_pulls_are_woken(world: World) -> None:
    """Pulls that wait are woken by a message, a nack and an expiry.

    That holds, too, when a request on another subscription is what notices the expiry.
    """
    world.subscribe()
    other = CLAIMS + "-other"
    world.subscribe(other, ack_deadline_seconds=600)
    world.publish()
    assert world.news == 2
    [held] = world.pull()
    world.extend(held.ack_id, seconds=0)
    assert world.news == 3
    world.pull()
    world.now += 10
    world.pull(other)
    assert world.news == 4


def test_an_old_message_is_dropped(world: World) -> None:
    """A message that nobody took within the retention is dropped: no call must ring hours later."""
    world.subscribe(message_retention_duration=timedelta(hours=2))
    world.publish(b"old")
    world.now += 2 * 3600 - 1
    world.publish(b"new")
    world.now += 1
    assert [it.message.data for it in world.pull()] == [b"new"]


def test_a_leased_message_is_retained(world: World) -> None:
    """A leased message stays with its owner beyond the retention; once the lease is lost, it is dropped."""
    world.subscribe(message_retention_duration=timedelta(minutes=10))
    world.publish()
    [held] = world.pull()
    world.extend(held.ack_id, seconds=600)
    world.now += 599
    world.extend(held.ack_id, seconds=600)
    world.now += 599
    world.extend(held.ack_id, seconds=0)
    assert world.pull() == []


def test_expiries_count_as_deliveries(world: World) -> None:
    """The fifth lease that runs out moves the message to the dead-letter topic, without anybody's doing."""
    world.broker.create_topic(Topic(name=DEAD))
    graveyard = "projects/here/subscriptions/dead"
    world.broker.create_subscription(Subscription(name=graveyard, topic=DEAD))
    world.subscribe(dead_letter_policy=DeadLetterPolicy(dead_letter_topic=DEAD, max_delivery_attempts=5))
    world.publish()
    for attempt in range(1, 6):
        assert [it.delivery_attempt for it in world.pull()] == [attempt]
        world.now += 10
    world.broker.expire_leases()
    assert len(world.pull(graveyard)) == 1
    assert world.pull() == []


def test_no_dead_letter_topic(world: World) -> None:
    """Without its dead-letter topic a message stays where it is."""
    world.broker.create_topic(Topic(name=DEAD))
    world.subscribe(dead_letter_policy=DeadLetterPolicy(dead_letter_topic=DEAD, max_delivery_attempts=5))
    world.broker.delete_topic(DeleteTopicRequest(topic=DEAD))
    world.publish()
    for attempt in range(1, 8):
        [held] = world.pull()
        assert held.delivery_attempt == attempt
        world.extend(held.ack_id, seconds=0)


def test_a_dead_letter_of_one_subscription(world: World) -> None:
    """A message that becomes a dead letter of one subscription is unchanged in the others."""
    world.broker.create_topic(Topic(name=DEAD))
    world.subscribe(dead_letter_policy=DeadLetterPolicy(dead_letter_topic=DEAD, max_delivery_attempts=5))
    other = CLAIMS + "-other"
    world.subscribe(other)
    world.publish()
    published = world.now
    for _ in range(5):
        [held] = world.pull()
        world.now += 1
        world.extend(held.ack_id, seconds=0)
    [received] = world.pull(other)
    assert received.message.publish_time.timestamp() == published
    assert not received.message.attributes


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"expiration_policy": ExpirationPolicy(ttl=timedelta(days=1))}, "ttl"),
        ({"enable_message_ordering": True, "filter": "attributes:x"}, "enable_message_ordering, filter"),
        ({"retry_policy": {}}, "retry_policy"),
        ({"bigquery_config": {"table": "a.b.c"}}, "bigquery_config"),
    ],
    ids=["ttl", "ordering and filter", "retry policy", "BigQuery"],
)
def test_a_missing_feature_is_named(world: World, settings: dict[str, object], named: str) -> None:
    """A subscription that needs what the broker lacks is refused by the name of the setting."""
    with pytest.raises(exceptions.MethodNotImplemented, match=named):
        world.subscribe(CLAIMS, **settings)
    with pytest.raises(exceptions.NotFound):
        world.pull()


def test_a_missing_feature_of_topics(world: World) -> None:
    """So is a topic."""
    with pytest.raises(exceptions.MethodNotImplemented, match="kms_key_name"):
        world.broker.create_topic(Topic(name=DEAD, kms_key_name="key"))


def test_too_many_messages_at_once(world: World) -> None:
    """More than a thousand messages in one request are refused."""
    world.subscribe()
    with pytest.raises(exceptions.InvalidArgument, match="Too many"):
        world.broker.publish(PublishRequest(topic=TOPIC, messages=[PubsubMessage(data=b"x")] * 1001))
    assert world.pull() == []
