"""Topics and subscriptions: the rules of Pub/Sub without the network.

Requests and answers are Google's own types, and refusals are the exceptions that Google's clients raise. Where Google's
emulator (0.8.20) and the documented service differ, this keeps to the service; the contract tests name each difference.
What it does not do, it refuses: retry policies, filters, ordering, push and exports.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from google.api_core import exceptions
from google.pubsub_v1.types import (
    AcknowledgeRequest,
    DeleteSubscriptionRequest,
    DeleteTopicRequest,
    GetSubscriptionRequest,
    GetTopicRequest,
    ListSubscriptionsRequest,
    ListSubscriptionsResponse,
    ListTopicsRequest,
    ListTopicsResponse,
    ListTopicSubscriptionsRequest,
    ListTopicSubscriptionsResponse,
    ModifyAckDeadlineRequest,
    PublishRequest,
    PublishResponse,
    PubsubMessage,
    PullRequest,
    PullResponse,
    Subscription,
    Topic,
)
from google.rpc import error_details_pb2

from emulator.pubsub import checks
from emulator.pubsub.backlog import Backlog, Delivery, Expiries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DELETED_TOPIC = "_deleted-topic_"
"""What stands for the topic in a subscription that outlived it."""


@dataclass(slots=True)
class _Subscription:
    settings: Subscription
    backlog: Backlog


class Broker:
    """All topics and subscriptions, for any number of projects.

    Every method first ends the leases that have run out, so what it answers is true at the moment it is called.

    Args:
        clock: The time in Unix seconds; must never run backwards.
        on_ready: Called when a pull that found nothing should look again.
    """

    def __init__(self, clock: Callable[[], float], on_ready: Callable[[], None]) -> None:
        self._clock = clock
        self._on_ready = on_ready
        self._topics: dict[str, Topic] = {}
        self._subscriptions: dict[str, _Subscription] = {}
        self._expiries = Expiries()
        self._lease_numbers = itertools.count(1)
        self._message_numbers = itertools.count(1)

    # Topics

    def create_topic(self, topic: Topic) -> Topic:
        """Create a topic."""
        checks.topic(topic)
        if topic.name in self._topics:
            raise exceptions.AlreadyExists("Topic already exists")
        self._topics[topic.name] = topic
        return topic

    def get_topic(self, request: GetTopicRequest) -> Topic:
        """Give a topic's settings."""
        return self._topic(request.topic)

    def list_topics(self, request: ListTopicsRequest) -> ListTopicsResponse:
        """List a project's topics by name."""
        names, token = _page(_of_project(self._topics, request.project), request.page_size, request.page_token)
        return ListTopicsResponse(topics=[self._topics[name] for name in names], next_page_token=token)

    def list_topic_subscriptions(self, request: ListTopicSubscriptionsRequest) -> ListTopicSubscriptionsResponse:
        """List the names of a topic's subscriptions."""
        topic = self._topic(request.topic)
        names = [name for name, found in self._subscriptions.items() if found.settings.topic == topic.name]
        names, token = _page(names, request.page_size, request.page_token)
        return ListTopicSubscriptionsResponse(subscriptions=names, next_page_token=token)

    def delete_topic(self, request: DeleteTopicRequest) -> None:
        """Delete a topic; its subscriptions live on with what they hold."""
        topic = self._topic(request.topic)
        del self._topics[topic.name]
        for subscription in self._subscriptions.values():
            if subscription.settings.topic == topic.name:
                subscription.settings.topic = DELETED_TOPIC

    def publish(self, request: PublishRequest) -> PublishResponse:
        """Give the messages to every subscription of the topic."""
        topic = self._topic(request.topic)
        checks.messages(request.messages)
        ids = [str(next(self._message_numbers)) for _ in request.messages]
        for message, message_id in zip(request.messages, ids, strict=True):
            message.message_id = message_id
            self._deliver(topic.name, message)
        return PublishResponse(message_ids=ids)

    def _deliver(self, topic: str, message: PubsubMessage) -> None:
        now = self._clock()
        message.publish_time = datetime.fromtimestamp(now, UTC)
        for subscription in self._subscriptions.values():
            if subscription.settings.topic == topic:
                subscription.backlog.add(message, now)

    # Subscriptions

    def create_subscription(self, subscription: Subscription) -> Subscription:
        """Create a subscription; it gets what is published from now on."""
        checks.subscription(subscription)
        if subscription.name in self._subscriptions:
            raise exceptions.AlreadyExists("Subscription already exists")
        if subscription.topic not in self._topics:
            raise exceptions.NotFound("Subscription topic does not exist")
        dead_letter_policy = subscription.dead_letter_policy
        if dead_letter_policy and dead_letter_policy.dead_letter_topic not in self._topics:
            raise exceptions.NotFound("Dead letter topic not found")
        backlog = Backlog(
            self._expiries,
            self._lease_numbers,
            self._on_ready,
            ack_deadline_seconds=subscription.ack_deadline_seconds,
            retention_seconds=subscription.message_retention_duration.total_seconds(),
            max_delivery_attempts=dead_letter_policy.max_delivery_attempts if dead_letter_policy else None,
        )
        self._subscriptions[subscription.name] = _Subscription(subscription, backlog)
        return subscription

    def get_subscription(self, request: GetSubscriptionRequest) -> Subscription:
        """Give a subscription's settings."""
        return self._subscription(request.subscription).settings

    def list_subscriptions(self, request: ListSubscriptionsRequest) -> ListSubscriptionsResponse:
        """List a project's subscriptions by name."""
        names, token = _page(_of_project(self._subscriptions, request.project), request.page_size, request.page_token)
        found = [self._subscriptions[name].settings for name in names]
        return ListSubscriptionsResponse(subscriptions=found, next_page_token=token)

    def delete_subscription(self, request: DeleteSubscriptionRequest) -> None:
        """Delete a subscription and what it holds."""
        del self._subscriptions[self._subscription(request.subscription).settings.name]
        self._on_ready()

    # Leases

    def pull(self, request: PullRequest) -> PullResponse:
        """Lease the messages that are ready, at most `max_messages`."""
        subscription = self._subscription(request.subscription)
        if request.max_messages <= 0:
            raise exceptions.InvalidArgument("No max_messages specified")
        self.expire_leases()
        pulled = subscription.backlog.pull(request.max_messages, self._clock())
        for number, received in pulled:
            received.ack_id = f"{subscription.settings.name}:{number}"
        return PullResponse(received_messages=[received for _, received in pulled])

    def acknowledge(self, request: AcknowledgeRequest) -> None:
        """Acknowledge messages for good.

        Raises:
            exceptions.InvalidArgument: some ack ids are malformed (then nothing was done), or their leases are lost and
                delivery is exactly-once (then the others are acknowledged all the same).
        """
        subscription = self._subscription(request.subscription)
        numbers = _lease_numbers(request.ack_ids, subscription.settings.name)
        self.expire_leases()
        lost = [ack_id for ack_id, number in numbers.items() if not subscription.backlog.acknowledge(number)]
        _refuse_lost(lost, subscription.settings)

    def modify_ack_deadline(self, request: ModifyAckDeadlineRequest) -> None:
        """Extend leases to `ack_deadline_seconds` from now, or nack with 0.

        Raises:
            exceptions.InvalidArgument: as in `acknowledge`, or the deadline is out of bounds.
        """
        subscription = self._subscription(request.subscription)
        seconds = checks.lease_seconds(request.ack_deadline_seconds)
        numbers = _lease_numbers(request.ack_ids, subscription.settings.name)
        self.expire_leases()
        now = self._clock()
        lost = [ack_id for ack_id, number in numbers.items() if not subscription.backlog.extend(number, seconds, now)]
        self._move_dead(subscription)
        _refuse_lost(lost, subscription.settings)

    def expire_leases(self) -> None:
        """End every lease that has run out."""
        now = self._clock()
        for number, backlog in self._expiries.due(now):
            backlog.expire(number, now)
        for subscription in list(self._subscriptions.values()):
            self._move_dead(subscription)

    def next_expiry(self) -> float | None:
        """Return when a lease may run out next, on the broker's clock."""
        return self._expiries.next()

    def _move_dead(self, subscription: _Subscription) -> None:
        for delivery in subscription.backlog.take_dead():
            topic = subscription.settings.dead_letter_policy.dead_letter_topic
            if topic in self._topics:
                self._deliver(topic, _dead_letter(delivery, subscription.settings))
            else:
                subscription.backlog.put_back(delivery)

    # Look-ups

    def _topic(self, name: str) -> Topic:
        checks.name(name, "topics")
        if name not in self._topics:
            raise exceptions.NotFound("Topic not found")
        return self._topics[name]

    def _subscription(self, name: str) -> _Subscription:
        checks.name(name, "subscriptions")
        if name not in self._subscriptions:
            raise exceptions.NotFound("Subscription does not exist")
        return self._subscriptions[name]


def _of_project(names: Iterable[str], project: str) -> list[str]:
    checks.project(project)
    return [name for name in names if name.startswith(f"{project}/")]


def _page(names: Iterable[str], size: int, token: str) -> tuple[list[str], str]:
    """Cut a page of names; returns it and the next page's first name."""
    names = sorted(name for name in names if name >= token)
    return (names[:size], names[size]) if 0 < size < len(names) else (names, "")


def _lease_numbers(ack_ids: Iterable[str], subscription: str) -> dict[str, int]:
    """Read the lease's number from each ack id."""
    numbers = {}
    for ack_id in ack_ids:
        owner, _, number = ack_id.rpartition(":")
        if not re.fullmatch(r"-?\d{1,18}", number, re.ASCII):
            raise exceptions.InvalidArgument(f"Invalid ack id (ack_id={ack_id})")
        if owner != subscription:
            raise exceptions.InvalidArgument(
                f"Subscription {subscription} received an invalid ack ID {ack_id}, meant for subscription: {owner}"
            )
        numbers[ack_id] = int(number)
    if not numbers:
        raise exceptions.InvalidArgument("No ack ids specified")
    return numbers


def _refuse_lost(ack_ids: list[str], subscription: Subscription) -> None:
    """Refuse ack ids whose leases are lost, if delivery is exactly-once."""
    if not ack_ids or not subscription.enable_exactly_once_delivery:
        return
    info = error_details_pb2.ErrorInfo(
        reason="EXACTLY_ONCE_ACKID_FAILURE",
        domain="pubsub.googleapis.com",
        metadata=dict.fromkeys(ack_ids, "PERMANENT_FAILURE_INVALID_ACK_ID"),
    )
    raise exceptions.InvalidArgument(
        "Some acknowledgement ids in the request were invalid. This could be because the acknowledgement ids have"
        " expired or the acknowledgement ids were malformed.",
        details=[info],
    )


def _dead_letter(delivery: Delivery, subscription: Subscription) -> PubsubMessage:
    """Make the copy for the dead-letter topic."""
    _, project, _, name = subscription.name.split("/")
    published = datetime.fromtimestamp(delivery.published, UTC).isoformat(timespec="milliseconds")
    origin = {
        "CloudPubSubDeadLetterSourceDeliveryCount": str(delivery.attempts),
        "CloudPubSubDeadLetterSourceSubscription": name,
        "CloudPubSubDeadLetterSourceSubscriptionProject": project,
        "CloudPubSubDeadLetterSourceTopicPublishTime": published.replace("+00:00", "Z"),
    }
    message = delivery.message
    return PubsubMessage(
        data=message.data,
        attributes={**message.attributes, **origin},
        message_id=message.message_id,
        ordering_key=message.ordering_key,
    )
