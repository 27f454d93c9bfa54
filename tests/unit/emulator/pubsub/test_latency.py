"""Latency profiles of the embedded Pub/Sub, as Google's client sees them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from google.api_core.exceptions import DeadlineExceeded, InvalidArgument
from google.pubsub_v1.types import PubsubMessage
from pydantic import ValidationError

from emulator.pubsub import Server, serve
from emulator.pubsub.topology import create_calls
from tests.support.pubsub_servers import clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient

TOPIC = "projects/here/topics/calls"
CLAIMS = "projects/here/subscriptions/claims"
SLOW = 0.4  # a delay that is told apart from none
SHORT = 0.2  # a deadline that is too short for it


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve() as running:
        await create_calls(running.host_port, project="here", topic="calls", subscription="claims")
        yield running


@pytest.fixture
async def publisher(server: Server) -> AsyncIterator[PublisherAsyncClient]:
    async with clients(server.host_port) as (made, _):
        yield made


@pytest.fixture
async def subscriber(server: Server) -> AsyncIterator[SubscriberAsyncClient]:
    async with clients(server.host_port) as (_, made):
        yield made


async def publish(publisher: PublisherAsyncClient) -> None:
    await publisher.publish(topic=TOPIC, messages=[PubsubMessage(data=b"call")], timeout=5)


async def pulled(subscriber: SubscriberAsyncClient, seconds: float = 5) -> list[str]:
    """Pull once; return the ack ids."""
    answer = await subscriber.pull(subscription=CLAIMS, max_messages=10, timeout=seconds, retry=None)
    return [received.ack_id for received in answer.received_messages]


async def modify(subscriber: SubscriberAsyncClient, ack_id: str, deadline: int, seconds: float = 5) -> None:
    await subscriber.modify_ack_deadline(
        subscription=CLAIMS, ack_ids=[ack_id], ack_deadline_seconds=deadline, timeout=seconds, retry=None
    )


async def test_applied_before_the_delay(
    server: Server, publisher: PublisherAsyncClient, subscriber: SubscriberAsyncClient
) -> None:
    """A nack that is answered late lets others have the message meanwhile."""
    await publish(publisher)
    (ack_id,) = await pulled(subscriber)
    server.latency.change({"modify_ack_deadline": {"delay_seconds": 60}})
    nack = asyncio.create_task(modify(subscriber, ack_id, 0, seconds=60))
    assert len(await pulled(subscriber)) == 1
    assert not nack.done()
    nack.cancel()


async def test_applied_after_the_delay(
    server: Server, publisher: PublisherAsyncClient, subscriber: SubscriberAsyncClient
) -> None:
    """A nack that is late on its way leaves the message where it is until it arrives."""
    await publish(publisher)
    (ack_id,) = await pulled(subscriber)
    server.latency.change({"modify_ack_deadline": {"delay_seconds": 60, "applied": "after"}})
    with pytest.raises(DeadlineExceeded):
        await modify(subscriber, ack_id, 0, seconds=SHORT)
    assert await pulled(subscriber, seconds=SHORT) == []
    await subscriber.acknowledge(subscription=CLAIMS, ack_ids=[ack_id], timeout=5, retry=None)


async def test_an_answer_takes_its_delay(
    server: Server, publisher: PublisherAsyncClient, subscriber: SubscriberAsyncClient
) -> None:
    """Every method is slowed down, refusals too, and is quick again after `reset`."""
    server.latency.slow_down(SLOW)
    started = time.monotonic()
    await publish(publisher)
    (ack_id,) = await pulled(subscriber)
    await modify(subscriber, ack_id, 0)
    with pytest.raises(InvalidArgument):
        await modify(subscriber, ack_id, 10)
    assert time.monotonic() - started >= 4 * SLOW
    server.latency.slow_down(60)
    server.latency.reset()
    assert len(await pulled(subscriber)) == 1


async def test_applied_and_never_answered(
    server: Server, publisher: PublisherAsyncClient, subscriber: SubscriberAsyncClient
) -> None:
    """The client learns nothing of an acknowledgement that took effect."""
    await publish(publisher)
    (ack_id,) = await pulled(subscriber)
    server.latency.change({"acknowledge": {"answered": False}})
    with pytest.raises(DeadlineExceeded):
        await subscriber.acknowledge(subscription=CLAIMS, ack_ids=[ack_id], timeout=SHORT, retry=None)
    with pytest.raises(InvalidArgument):
        await modify(subscriber, ack_id, 10)


async def test_a_black_hole(server: Server, publisher: PublisherAsyncClient, subscriber: SubscriberAsyncClient) -> None:
    """What is swallowed takes no effect: a pull there has leased nothing."""
    await publish(publisher)
    server.latency.change({"pull": {"applied": "never"}})
    with pytest.raises(DeadlineExceeded):
        await pulled(subscriber, seconds=SHORT)
    server.latency.reset()
    assert len(await pulled(subscriber)) == 1


async def test_a_pull_given_up_in_its_delay(
    server: Server, publisher: PublisherAsyncClient, subscriber: SubscriberAsyncClient
) -> None:
    """Its messages were taken, can't be delivered, and go to the next pull."""
    await publish(publisher)
    server.latency.change({"pull": {"delay_seconds": 60}})
    with pytest.raises(DeadlineExceeded):
        await pulled(subscriber, seconds=SHORT)
    server.latency.reset()
    assert len(await pulled(subscriber)) == 1


async def test_dead_connections(server: Server, subscriber: SubscriberAsyncClient) -> None:
    """A pull that waits on one takes nothing; a connection that is made later has the message."""
    waiting = asyncio.create_task(pulled(subscriber, seconds=60))
    assert await pulled(subscriber, seconds=SHORT) == []  # by now the other one waits too
    server.kill_connections()
    async with clients(server.host_port) as (fresh_publisher, fresh):
        await publish(fresh_publisher)
        assert len(await pulled(fresh)) == 1
    with pytest.raises(DeadlineExceeded):
        await pulled(subscriber, seconds=SHORT)
    assert not waiting.done()
    waiting.cancel()


@pytest.mark.parametrize(
    "changes", [{"pool": {}}, {"pull": {"delay": 1}}, {"pull": {"delay_seconds": -1}}, {"pull": {"applied": "late"}}]
)
def test_a_change_that_is_wrong(changes: dict[str, dict[str, object]]) -> None:
    """It is refused whole."""
    server = Server(time.time)
    with pytest.raises(ValidationError):
        server.latency.change({"publish": {"delay_seconds": 5}} | changes)
    assert server.latency.publish.delay_seconds == 0
