"""The topics and subscriptions of calls, on any Pub/Sub emulator."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc.aio
from google.api_core.exceptions import AlreadyExists
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import DeadLetterPolicy, ExpirationPolicy, Subscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

RETENTION = timedelta(hours=2)
TIMEOUT_SECONDS = 10


async def create_calls(
    host_port: str,
    *,
    project: str,
    topic: str,
    subscription: str,
    dead_letter_topic: str | None = None,
    ack_deadline_seconds: int = 10,
    max_delivery_attempts: int = 50,
) -> None:
    """Make the topic of calls and the claim subscription, where missing.

    The names are short ones (`calls`, not `projects/.../topics/calls`). A dead-letter topic is made together with a
    subscription of its name, without which Pub/Sub would lose what lands there.
    """
    topic, subscription = f"projects/{project}/topics/{topic}", f"projects/{project}/subscriptions/{subscription}"
    claims = Subscription(
        name=subscription,
        topic=topic,
        ack_deadline_seconds=ack_deadline_seconds,
        enable_exactly_once_delivery=True,
        message_retention_duration=RETENTION,
        expiration_policy=ExpirationPolicy(),  # without a ttl: never
    )
    async with clients(host_port) as (publisher, subscriber):
        if dead_letter_topic:
            dead = f"projects/{project}/topics/{dead_letter_topic}"
            dead_subscription = Subscription(
                name=f"projects/{project}/subscriptions/{dead_letter_topic}",
                topic=dead,
                expiration_policy=ExpirationPolicy(),
            )
            await _unless_there(publisher.create_topic(name=dead, timeout=TIMEOUT_SECONDS))
            await _unless_there(subscriber.create_subscription(request=dead_subscription, timeout=TIMEOUT_SECONDS))
            claims.dead_letter_policy = DeadLetterPolicy(
                dead_letter_topic=dead, max_delivery_attempts=max_delivery_attempts
            )
        await _unless_there(publisher.create_topic(name=topic, timeout=TIMEOUT_SECONDS))
        await _unless_there(subscriber.create_subscription(request=claims, timeout=TIMEOUT_SECONDS))


@asynccontextmanager
async def clients(host_port: str) -> AsyncIterator[tuple[PublisherAsyncClient, SubscriberAsyncClient]]:
    """Yield Google's asyncio clients of an emulator."""
    async with grpc.aio.insecure_channel(host_port) as channel:
        yield (
            PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel)),
            SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel)),
        )


async def _unless_there(creation: Awaitable[object]) -> None:
    with suppress(AlreadyExists):
        await creation
