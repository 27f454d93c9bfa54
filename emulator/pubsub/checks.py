"""What names, settings and messages may be.

Refused is what the service refuses, and what this stand-in cannot do.

Bounds and wordings are those of the service's documentation and of Google's emulator.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from google.api_core import exceptions
from google.pubsub_v1.types import PubsubMessage, Subscription, Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    import proto

MAX_LEASE_SECONDS = 600
_MIN_ACK_DEADLINE_SECONDS = 10
_EXACTLY_ONCE_ACK_DEADLINE_SECONDS = 60
_RETENTION = (timedelta(minutes=10), timedelta(days=31))
_DEFAULT_RETENTION = timedelta(days=7)
_DELIVERY_ATTEMPTS = (5, 100)
_MAX_PUBLISHED_AT_ONCE = 1000

_PROJECT = re.compile(r"projects/[^/]+")
_RESOURCE = re.compile(r"projects/[^/]+/(topics|subscriptions)/(?!goog)[A-Za-z][\w.~+%-]{2,254}", re.ASCII)

_TOPIC_FIELDS = {"name", "labels"}
_SUBSCRIPTION_FIELDS = {
    "name",
    "topic",
    "labels",
    "ack_deadline_seconds",
    "message_retention_duration",
    "expiration_policy",
    "dead_letter_policy",
    "enable_exactly_once_delivery",
}


def project(value: str) -> None:
    """Refuse what is not a project's full name."""
    if not _PROJECT.fullmatch(value):
        raise exceptions.InvalidArgument(f"Invalid [projects] name: (name={value})")


def name(value: str, kind: Literal["topics", "subscriptions"]) -> None:
    """Refuse what is no topic's or subscription's full name."""
    match = _RESOURCE.fullmatch(value)
    if not match or match[1] != kind:
        raise exceptions.InvalidArgument(f"Invalid [{kind}] name: (name={value})")


def topic(value: Topic) -> None:
    """Refuse a bad topic."""
    name(value.name, "topics")
    _refuse_others(value, _TOPIC_FIELDS)


def subscription(value: Subscription) -> None:
    """Refuse a bad subscription; fill in the defaults of a good one."""
    name(value.name, "subscriptions")
    name(value.topic, "topics")
    if "push_config" in value and not Subscription.pb(value).push_config.ByteSize():
        del value.push_config  # an empty one asks for pull
    _refuse_others(value, _SUBSCRIPTION_FIELDS)
    if value.expiration_policy and value.expiration_policy.ttl:
        raise exceptions.MethodNotImplemented(f"{value.name}: subscriptions never expire here; leave out the ttl")
    _ack_deadline(value)
    _retention(value)
    if value.dead_letter_policy:
        _delivery_attempts(value)


def messages(values: Sequence[PubsubMessage]) -> None:
    """Refuse messages that the service would refuse."""
    if not values:
        raise exceptions.InvalidArgument("No messages to publish")
    if len(values) > _MAX_PUBLISHED_AT_ONCE:
        raise exceptions.InvalidArgument("Too many messages to publish")
    if any(not message.data and not message.attributes for message in values):
        raise exceptions.InvalidArgument("Some messages are empty")


def lease_seconds(value: int) -> int:
    """Refuse an ack deadline out of bounds; 0 is a nack."""
    if value < 0:
        raise exceptions.InvalidArgument("Ack deadline cannot be negative")
    if value > MAX_LEASE_SECONDS:
        raise exceptions.InvalidArgument(f"Ack deadline of {value} s is too long; the longest is {MAX_LEASE_SECONDS} s")
    return value


def _refuse_others(value: proto.Message, known: set[str]) -> None:
    """Refuse settings that would otherwise be ignored silently."""
    others = [field.name for field, _ in type(value).pb(value).ListFields() if field.name not in known]
    if others:
        raise exceptions.MethodNotImplemented(
            f"{', '.join(others)}: not supported by the embedded Pub/Sub; leave it out"
        )


def _ack_deadline(value: Subscription) -> None:
    exactly_once = value.enable_exactly_once_delivery
    default = _EXACTLY_ONCE_ACK_DEADLINE_SECONDS if exactly_once else _MIN_ACK_DEADLINE_SECONDS
    value.ack_deadline_seconds = value.ack_deadline_seconds or default
    if not _MIN_ACK_DEADLINE_SECONDS <= value.ack_deadline_seconds <= MAX_LEASE_SECONDS:
        raise exceptions.InvalidArgument("ack_deadline_secs out of bounds")


def _retention(value: Subscription) -> None:
    if "message_retention_duration" not in value:
        value.message_retention_duration = _DEFAULT_RETENTION
    shortest, longest = _RETENTION
    if not shortest <= value.message_retention_duration <= longest:
        raise exceptions.InvalidArgument("message_retention_duration out of bounds")


def _delivery_attempts(value: Subscription) -> None:
    fewest, most = _DELIVERY_ATTEMPTS
    attempts = value.dead_letter_policy.max_delivery_attempts = value.dead_letter_policy.max_delivery_attempts or fewest
    if not fewest <= attempts <= most:
        size, bound, limit = ("small", "minimum", fewest) if attempts < fewest else ("large", "maximum", most)
        raise exceptions.OutOfRange(
            f"The value for max_delivery_attempts is too {size}. You passed {attempts} in the request,"
            f" but the {bound} value is {limit}."
        )
