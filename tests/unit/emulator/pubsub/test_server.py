"""The gRPC shell: what it does when clients vanish, ports are taken and servers stop."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, cast
from unittest.mock import create_autospec

import grpc.aio
import pytest
from google.api_core import exceptions
from google.pubsub_v1.types import PublishRequest, PubsubMessage, PullRequest, PullResponse, Subscription, Topic

from emulator.pubsub import serve
from emulator.pubsub.broker import Broker
from emulator.pubsub.server import Server
from tests.support.pubsub_servers import clients

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TOPIC = "projects/here/topics/calls"
CLAIMS = "projects/here/subscriptions/claims"
CALL = PublishRequest(topic=TOPIC, messages=[PubsubMessage(data=b"call")])
ONE = PullRequest(subscription=CLAIMS, max_messages=1)


def caller(write: Callable[[PullResponse], Awaitable[None]]) -> grpc.aio.ServicerContext[PullRequest, PullResponse]:
    """Give a client as the handler sees it, up to the write of the answer."""
    context = create_autospec(grpc.aio.ServicerContext, instance=True)
    context.time_remaining = lambda: 5.0
    context.write = write
    return cast("grpc.aio.ServicerContext[PullRequest, PullResponse]", context)


def server_with_claims() -> tuple[Server, Broker]:
    server = Server(time.time)
    server._broker.create_topic(Topic(name=TOPIC))
    server._broker.create_subscription(Subscription(name=CLAIMS, topic=TOPIC, enable_exactly_once_delivery=True))
    return server, server._broker


@pytest.mark.parametrize(
    "failure", [grpc.aio.BaseError("the stream is closed"), asyncio.CancelledError()], ids=["closed", "cancelled"]
)
async def test_race_of_a_vanishing_client(failure: BaseException) -> None:
    """Race: an answer that can't be written gives its message back at once, to a pull that waits."""
    server, broker = server_with_claims()
    broker.publish(CALL)
    lost: list[PullResponse] = []
    arrived: list[PullResponse] = []

    async def vanish(response: PullResponse) -> None:
        lost.append(response)
        await asyncio.sleep(0)
        raise failure

    async def arrive(response: PullResponse) -> None:
        arrived.append(response)

    first = asyncio.create_task(server.pull(ONE, caller(vanish)))
    second = asyncio.create_task(server.pull(ONE, caller(arrive)))
    with pytest.raises(type(failure)):
        await first
    await asyncio.wait_for(second, timeout=2)
    server.close()
    [[gone], [here]] = lost[0].received_messages, arrived[0].received_messages
    assert gone.message.data == here.message.data == b"call"
    assert gone.ack_id != here.ack_id


@pytest.mark.parametrize("steps", range(6))
async def test_race_of_a_cancelled_pull(steps: int) -> None:
    """Race: a pull that is cancelled has answered, or its message is there for the next pull; never neither."""
    server, broker = server_with_claims()

    async def write(_response: PullResponse) -> None:
        await asyncio.sleep(0)

    pull = asyncio.create_task(server.pull(ONE, caller(write)))
    await asyncio.wait([pull], timeout=0)
    broker.publish(CALL)
    for _ in range(steps):
        await asyncio.sleep(0)
    pull.cancel()
    await asyncio.wait([pull])
    server.close()
    assert bool(broker.pull(ONE).received_messages) == pull.cancelled()


async def test_a_port_that_is_taken(embedded_pubsub: str) -> None:
    """A port that is taken is an error that names it."""
    port = int(embedded_pubsub.rpartition(":")[2])
    with pytest.raises(RuntimeError, match=str(port)):
        async with serve(port=port):
            pass


async def test_a_stop_ends_waiting_pulls() -> None:
    """A server that stops ends the pulls that wait."""
    async with AsyncExitStack() as stopped_later:
        async with serve() as server:
            topics, subscriber = await stopped_later.enter_async_context(clients(server.host_port))
            await topics.create_topic(name=TOPIC)
            await subscriber.create_subscription(name=CLAIMS, topic=TOPIC)
            waiting = asyncio.create_task(subscriber.pull(subscription=CLAIMS, max_messages=1, timeout=30, retry=None))
            await asyncio.wait([waiting], timeout=0.1)
            assert not waiting.done()
        async with asyncio.timeout(5):
            with pytest.raises(exceptions.ServiceUnavailable):
                await waiting


async def test_unknown_methods(embedded_pubsub: str) -> None:
    """Methods that the broker does not have are UNIMPLEMENTED."""
    async with clients(embedded_pubsub) as (topics, _):
        with pytest.raises(exceptions.MethodNotImplemented):
            await topics.list_topic_snapshots(topic=TOPIC, timeout=5, retry=None)
