"""What names, settings and messages may be: the service's bounds, in the service's words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.pubsub_v1.types import (
    DeadLetterPolicy,
    ExpirationPolicy,
    PubsubMessage,
    PushConfig,
    Subscription,
    Topic,
)

from emulator.pubsub import checks

TOPIC = "projects/here/topics/calls"
CLAIMS = "projects/here/subscriptions/claims"


def subscription(**settings: Any) -> Subscription:
    return Subscription(name=CLAIMS, topic=TOPIC, **settings)


@pytest.mark.parametrize(
    "name",
    [TOPIC, "projects/a:b/topics/A-1.b_c~d+e%f", "projects/here/topics/abc", f"projects/here/topics/{'a' * 255}"],
    ids=["usual", "all signs", "shortest", "longest"],
)
def test_names(name: str) -> None:
    """A topic's full name has its project, and 3 to 255 letters and signs."""
    checks.name(name, "topics")


@pytest.mark.parametrize(
    "name",
    [
        *("calls", CLAIMS, "projects//topics/calls", "projects/here/topics/ab", "projects/here/topics/1st"),
        *("projects/here/topics/google", "projects/here/topics/bücher", f"{TOPIC}\n"),
        "projects/here/topics/" + "a" * 256,
    ],
    ids=["id", "subscription", "no project", "too short", "digit", "goog", "not ASCII", "line feed", "too long"],
)
def test_wrong_names(name: str) -> None:
    """Any other name is refused, and named."""
    with pytest.raises(exceptions.InvalidArgument, match=r"Invalid \[topics\] name"):
        checks.name(name, "topics")


@pytest.mark.parametrize("name", ["here", "projects/", "projects/a/b"])
def test_wrong_projects(name: str) -> None:
    """What is no project's full name is refused."""
    with pytest.raises(exceptions.InvalidArgument):
        checks.project(name)


@pytest.mark.parametrize(("exactly_once", "seconds"), [(True, 60), (False, 10)])
def test_defaults(exactly_once: bool, seconds: int) -> None:
    """The defaults of a subscription are filled in."""
    checked = subscription(enable_exactly_once_delivery=exactly_once)
    checks.subscription(checked)
    assert checked.ack_deadline_seconds == seconds
    assert checked.message_retention_duration == timedelta(days=7)


def test_an_empty_push_config() -> None:
    """An empty push configuration asks for pull, as at the service."""
    checked = subscription(push_config=PushConfig())
    checks.subscription(checked)
    assert "push_config" not in checked


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"ack_deadline_seconds": 9}, exceptions.InvalidArgument, "ack_deadline_secs out of bounds"),
        ({"ack_deadline_seconds": 601}, exceptions.InvalidArgument, "ack_deadline_secs out of bounds"),
        ({"message_retention_duration": timedelta(minutes=9)}, exceptions.InvalidArgument, "out of bounds"),
        ({"message_retention_duration": timedelta(days=32)}, exceptions.InvalidArgument, "out of bounds"),
        ({"dead_letter_policy": DeadLetterPolicy(max_delivery_attempts=4)}, exceptions.OutOfRange, "too small.*is 5"),
        ({"dead_letter_policy": DeadLetterPolicy(max_delivery_attempts=101)}, exceptions.OutOfRange, "large.*is 100"),
        ({"expiration_policy": ExpirationPolicy(ttl=timedelta(days=1))}, exceptions.MethodNotImplemented, "ttl"),
        ({"push_config": PushConfig(push_endpoint="https://a.test")}, exceptions.MethodNotImplemented, "push_config"),
        ({"enable_message_ordering": True}, exceptions.MethodNotImplemented, "enable_message_ordering"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_settings(settings: dict[str, Any], error: type[Exception], says: str) -> None:
    """A setting that the service refuses, or that is missing here, is refused by its name."""
    with pytest.raises(error, match=says):
        checks.subscription(subscription(**settings))


def test_delivery_attempts_by_default() -> None:
    """A dead-letter policy without a number has the service's least."""
    checked = subscription(dead_letter_policy=DeadLetterPolicy(dead_letter_topic=TOPIC))
    checks.subscription(checked)
    assert checked.dead_letter_policy.max_delivery_attempts == 5


def test_a_topic() -> None:
    """A topic may have labels; what is missing here is refused by its name."""
    checks.topic(Topic(name=TOPIC, labels={"a": "b"}))
    with pytest.raises(exceptions.MethodNotImplemented, match="kms_key_name"):
        checks.topic(Topic(name=TOPIC, kms_key_name="key"))


@pytest.mark.parametrize(
    ("messages", "says"),
    [([], "No messages"), ([PubsubMessage()], "empty"), ([PubsubMessage(data=b"x")] * 1001, "Too many")],
    ids=["none", "empty", "too many"],
)
def test_wrong_messages(messages: list[PubsubMessage], says: str) -> None:
    """No messages, an empty one, and too many are refused; attributes alone are a message."""
    with pytest.raises(exceptions.InvalidArgument, match=says):
        checks.messages(messages)
    checks.messages([PubsubMessage(attributes={"a": "b"})])


@pytest.mark.parametrize("seconds", [0, 1, 600])
def test_lease_seconds(seconds: int) -> None:
    """A lease is extended by up to 600 s, or ended with 0."""
    assert checks.lease_seconds(seconds) == seconds


@pytest.mark.parametrize("seconds", [-1, 601])
def test_wrong_lease_seconds(seconds: int) -> None:
    """Any other length is refused."""
    with pytest.raises(exceptions.InvalidArgument, match="Ack deadline"):
        checks.lease_seconds(seconds)
