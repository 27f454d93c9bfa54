"""Pub/Sub for tests: the embedded one, Google's emulator, and real clients on either.

`pubsub` gives a test real clients and a project of its own, once on each server. `embedded_pubsub` and `google_pubsub`
give the address of one server alone. Google's emulator is started once in each test process.
"""

from __future__ import annotations

import asyncio
import os
import uuid
import warnings
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

import grpc.aio
import pytest
import pytest_asyncio
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.types import BatchSettings
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import DeadLetterPolicy, PullRequest, ReceivedMessage, Subscription

from emulator.pubsub import serve
from emulator.pubsub.google import EmulatorMissingError, google_emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.api_core import exceptions

REQUEST_SECONDS = 10
LONG_LEASE_SECONDS = 600
"""Longer than any test waits: what comes all the same has not waited for a lease."""


class _Once(TypedDict):
    timeout: float
    retry: None


ONCE: _Once = {"timeout": REQUEST_SECONDS, "retry": None}
"""For requests that are neither retried nor waited for without end."""
_METADATA_BYTES = 4 * 1024 * 1024
"""What Google's own channels allow: the error about 500 lost leases names them all, and gRPC would cut it at 16 kB."""


@pytest.fixture
async def embedded_pubsub() -> AsyncIterator[str]:
    """Give the HOST:PORT of an embedded Pub/Sub of the test's own."""
    async with serve() as server:
        yield server.host_port


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def google_pubsub() -> AsyncIterator[str]:
    """Give the HOST:PORT of Google's emulator.

    Skips where it is missing, but fails in CI.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CLOUD_PUBSUB_EMULATOR_OPTS", "-Xmx256m")
        try:
            async with google_emulator() as host_port:
                yield host_port
        except EmulatorMissingError as missing:
            if os.environ.get("CI") or os.environ.get("REQUIRE_GOOGLE_EMULATORS") == "1":
                pytest.fail(f"{missing} (it must not be missing in CI)")
            pytest.skip(str(missing))


class PubsubServer(NamedTuple):
    """One of the two servers."""

    kind: Literal["embedded", "google"]
    host_port: str


@pytest.fixture(params=["embedded", pytest.param("google", marks=pytest.mark.google)])
def pubsub_server(request: pytest.FixtureRequest) -> PubsubServer:
    """Give each server in turn."""
    return PubsubServer(request.param, request.getfixturevalue(f"{request.param}_pubsub"))


@pytest.fixture
async def pubsub(pubsub_server: PubsubServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pubsub]:
    """Give real clients in a project of their own, on each server in turn."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.host_port)
    async with clients(pubsub_server.host_port) as (topics, subscriber):
        with PublisherClient(BatchSettings(max_messages=1, max_latency=0)) as publisher:
            yield Pubsub(pubsub_server, f"p-{uuid.uuid4().hex[:12]}", publisher, topics, subscriber)


@asynccontextmanager
async def clients(host_port: str) -> AsyncIterator[tuple[PublisherAsyncClient, SubscriberAsyncClient]]:
    """Open Google's generated asyncio clients on one channel, with a connection of its own."""
    options = [("grpc.max_metadata_size", _METADATA_BYTES), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(host_port, options) as channel:
        yield (
            PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel)),
            SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel)),
        )


@dataclass(frozen=True)
class Pubsub:
    """A server, real clients on it, and what tests do with them. Nothing is retried."""

    server: PubsubServer
    project: str
    publisher: PublisherClient
    topics: PublisherAsyncClient
    subscriber: SubscriberAsyncClient

    def topic(self, name: str = "calls") -> str:
        """Give a topic's full name."""
        return f"projects/{self.project}/topics/{name}"

    def subscription(self, name: str = "claims") -> str:
        """Give a subscription's full name."""
        return f"projects/{self.project}/subscriptions/{name}"

    async def create_topic(self, name: str = "calls") -> None:
        """Create a topic."""
        await self.topics.create_topic(name=self.topic(name), timeout=REQUEST_SECONDS, retry=None)

    async def subscribe(self, name: str = "claims", topic: str = "calls", **settings: object) -> Subscription:
        """Create a subscription."""
        wanted = Subscription(name=self.subscription(name), topic=self.topic(topic), **settings)
        return await self.subscriber.create_subscription(request=wanted, timeout=REQUEST_SECONDS, retry=None)

    async def create_calls(
        self,
        *,
        exactly_once: bool = True,
        lease_seconds: int = 10,
        dead_letter_policy: DeadLetterPolicy | None = None,
    ) -> None:
        """Create the topic `calls` and the subscription `claims`, with the shortest lease unless told otherwise."""
        await self.create_topic()
        await self.subscribe(
            enable_exactly_once_delivery=exactly_once,
            ack_deadline_seconds=lease_seconds,
            dead_letter_policy=dead_letter_policy,
        )

    async def publish(self, data: bytes = b"call", topic: str = "calls", **attributes: str) -> str:
        """Publish a message, wait for the server's answer; gives the message's id."""
        return await asyncio.wrap_future(self.publisher.publish(self.topic(topic), data, **attributes))

    async def pull(
        self, max_messages: int = 1, name: str = "claims", seconds: float = REQUEST_SECONDS
    ) -> list[ReceivedMessage]:
        """Pull, waiting for the first message for nearly `seconds`."""
        answer = await self.subscriber.pull(
            subscription=self.subscription(name), max_messages=max_messages, timeout=seconds, retry=None
        )
        return list(answer.received_messages)

    async def pull_all(self, count: int, name: str = "claims") -> list[ReceivedMessage]:
        """Pull until `count` messages have come; a pull may bring fewer than there are."""
        pulled: list[ReceivedMessage] = []
        async with asyncio.timeout(4 * REQUEST_SECONDS):
            while len(pulled) < count:
                pulled += await self.pull(count - len(pulled), name)
        return pulled

    async def ready(self, name: str = "claims") -> list[ReceivedMessage]:
        """Pull what is ready, without waiting."""
        request = PullRequest(subscription=self.subscription(name), max_messages=1000, return_immediately=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it is, and a test has no better way to look
            answer = await self.subscriber.pull(request=request, timeout=REQUEST_SECONDS, retry=None)
        return list(answer.received_messages)

    async def acknowledge(self, *ack_ids: str, name: str = "claims") -> None:
        """Acknowledge messages."""
        await self.subscriber.acknowledge(
            subscription=self.subscription(name), ack_ids=list(ack_ids), timeout=REQUEST_SECONDS, retry=None
        )

    async def extend(self, *ack_ids: str, seconds: int, name: str = "claims") -> None:
        """Set how long leases run from now."""
        await self.subscriber.modify_ack_deadline(
            subscription=self.subscription(name),
            ack_ids=list(ack_ids),
            ack_deadline_seconds=seconds,
            timeout=REQUEST_SECONDS,
            retry=None,
        )

    async def nack(self, *ack_ids: str, name: str = "claims") -> None:
        """Give messages back."""
        await self.extend(*ack_ids, seconds=0, name=name)


def lost(error: pytest.ExceptionInfo[exceptions.InvalidArgument]) -> set[str]:
    """Give the ack ids that an error declares lost for good."""
    assert error.value.reason == "EXACTLY_ONCE_ACKID_FAILURE"
    assert error.value.domain == "pubsub.googleapis.com"
    assert set(error.value.metadata.values()) == {"PERMANENT_FAILURE_INVALID_ACK_ID"}
    return set(error.value.metadata)
