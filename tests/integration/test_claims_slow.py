"""Claims on a Pub/Sub that is slow or silent: nothing is lost that is still ours, and nothing is written meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage

from emulator.pubsub import Server, serve
from emulator.pubsub.topology import create_calls
from supervisor.claims import LAST_ATTEMPT, Claim, Claims, connector
from tests.support.pubsub_servers import clients

LEASE_SECONDS = 4  # of renewals; the one that comes with a notice is 10 s
SLOW_SECONDS = 2.5  # most of a lease
SUBSCRIPTION = "projects/shop/subscriptions/claims"
WITHIN_SECONDS = 40.0


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serve() as running:
        await create_calls(
            running.host_port, project="shop", topic="calls", subscription="claims", dead_letter_topic="dead"
        )
        yield running


@pytest.fixture
async def publisher(server: Server) -> AsyncIterator[PublisherAsyncClient]:
    async with clients(server.host_port) as (made, _):
        yield made


@pytest.fixture
async def others(server: Server) -> AsyncIterator[SubscriberAsyncClient]:
    """Another supervisor's client."""
    async with clients(server.host_port) as (_, made):
        yield made


@pytest.fixture
async def claims(server: Server) -> AsyncIterator[Claims]:
    made = Claims(connector(server.host_port, lease_seconds=LEASE_SECONDS), SUBSCRIPTION, lease_seconds=LEASE_SECONDS)
    yield made
    await made.close()


async def publish(publisher: PublisherAsyncClient) -> None:
    await publisher.publish(topic="projects/shop/topics/calls", messages=[PubsubMessage(data=b"call")])


async def one_claim(publisher: PublisherAsyncClient, claims: Claims) -> Claim:
    await publish(publisher)
    (claim,) = await claims.pull(1)
    return claim


async def pulled_by(others: SubscriberAsyncClient, seconds: float = 30) -> list[ReceivedMessage]:
    """Give what another supervisor gets, waiting for it for nearly so long."""
    answer = await others.pull(subscription=SUBSCRIPTION, max_messages=1, timeout=seconds, retry=None)
    return list(answer.received_messages)


async def nack(others: SubscriberAsyncClient, received: ReceivedMessage) -> None:
    await others.modify_ack_deadline(
        subscription=SUBSCRIPTION, ack_ids=[received.ack_id], ack_deadline_seconds=0, timeout=2, retry=None
    )


@asynccontextmanager
async def renewing(claims: Claims) -> AsyncIterator[None]:
    task = asyncio.create_task(claims.renew_forever())
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def lapse(claim: Claim) -> None:
    """Wait until nothing may be written."""
    while claim.may_write():
        await asyncio.sleep(0.02)  # a clock does not tell


async def test_slow_confirmation(server: Server, publisher: PublisherAsyncClient, claims: Claims) -> None:
    """A call is taken although Pub/Sub confirms the first renewal late."""
    server.latency.slow_down(SLOW_SECONDS)
    claim = await one_claim(publisher, claims)
    assert claim.confirmed
    assert claim.delivery_attempt == 1


@pytest.mark.parametrize("applied", ["before", "after"])
async def test_slow_renewals(server: Server, publisher: PublisherAsyncClient, claims: Claims, applied: str) -> None:
    """A claim is kept for many leases, whichever way is the slow one, and every one of them is writable."""
    claim = await one_claim(publisher, claims)
    server.latency.change({"modify_ack_deadline": {"delay_seconds": SLOW_SECONDS, "applied": applied}})
    first = claim.write_until
    async with renewing(claims):
        while claim.write_until < first + 3 * LEASE_SECONDS:
            assert not claim.lost
            await asyncio.sleep(0.1)


async def test_a_lapse_and_back(
    server: Server, publisher: PublisherAsyncClient, claims: Claims, others: SubscriberAsyncClient
) -> None:
    """Renewals that are applied and not answered: nothing is written, nobody gets the call, and it goes on after."""
    claim = await one_claim(publisher, claims)
    async with renewing(claims):
        server.latency.change({"modify_ack_deadline": {"answered": False}})
        await lapse(claim)
        verdict = asyncio.create_task(claim.verdict())
        assert not claims.healthy
        assert await pulled_by(others, seconds=2) == []
        assert not verdict.done()
        server.latency.reset()
        assert await verdict
    assert claim.may_write()
    assert claims.healthy


async def test_a_lapse_and_lost(
    server: Server, publisher: PublisherAsyncClient, claims: Claims, others: SubscriberAsyncClient
) -> None:
    """Renewals that get lost: another has the call, and the late renewal is refused."""
    claim = await one_claim(publisher, claims)
    lost = asyncio.Event()
    claim.on_lost = lost.set
    async with renewing(claims):
        server.latency.change({"modify_ack_deadline": {"applied": "never"}})
        await lapse(claim)
        assert len(await pulled_by(others)) == 1
        server.latency.reset()
        assert not await claim.verdict()
        await lost.wait()


async def test_a_silence_without_end(server: Server, publisher: PublisherAsyncClient, claims: Claims) -> None:
    """Those who wait are not left waiting: the claim is given up."""
    claim = await one_claim(publisher, claims)
    server.latency.change({"modify_ack_deadline": {"answered": False}})
    async with renewing(claims):
        await lapse(claim)
        assert not await claim.verdict()
    assert len(claims) == 0


async def test_an_unconfirmed_claim(
    server: Server, publisher: PublisherAsyncClient, claims: Claims, others: SubscriberAsyncClient
) -> None:
    """It is given back; nothing more is pulled before Pub/Sub answers, so that calls keep their deliveries."""
    server.latency.change({"modify_ack_deadline": {"answered": False}})
    await publish(publisher)
    pulling = asyncio.create_task(claims.pull(1))
    async with asyncio.timeout(WITHIN_SECONDS):
        while claims.healthy:
            await asyncio.sleep(0.02)  # until the confirmation is long overdue
        (second,) = await pulled_by(others)
        assert second.delivery_attempt == 2
        with suppress(DeadlineExceeded):  # it is applied, and not answered
            await nack(others, second)
        (third,) = await pulled_by(others)
        assert third.delivery_attempt == 3
        assert not pulling.done()
        server.latency.reset()
        assert await pulling == []
    assert claims.healthy


async def test_the_last_attempts(
    server: Server, publisher: PublisherAsyncClient, claims: Claims, others: SubscriberAsyncClient
) -> None:
    """A claim that nobody could confirm reaches an owner, which may write long enough to end the call."""
    await publish(publisher)
    for _ in range(LAST_ATTEMPT - 1):
        (received,) = await pulled_by(others)
        await nack(others, received)
    server.latency.change({"modify_ack_deadline": {"applied": "never"}})
    (claim,) = await claims.pull(1)
    assert claim.delivery_attempt == LAST_ATTEMPT
    assert not claim.confirmed
    assert claim.may_write()
    assert len(claims) == 1


async def test_a_slow_nack(
    server: Server, publisher: PublisherAsyncClient, claims: Claims, others: SubscriberAsyncClient
) -> None:
    """A hand-over ends when Pub/Sub has answered, be it late; the call is another's long before."""
    claim = await one_claim(publisher, claims)
    server.latency.change({"modify_ack_deadline": {"delay_seconds": SLOW_SECONDS}})
    handing_over = asyncio.create_task(claims._give_back([claim], 0))
    assert len(await pulled_by(others)) == 1
    assert await handing_over, "it was answered"


async def test_a_slow_ack(server: Server, publisher: PublisherAsyncClient, claims: Claims) -> None:
    """It is confirmed, be it late."""
    claim = await one_claim(publisher, claims)
    server.latency.change({"acknowledge": {"delay_seconds": SLOW_SECONDS}})
    assert await claims.ack(claim)


async def test_dead_connections(server: Server, publisher: PublisherAsyncClient, claims: Claims) -> None:
    """Where connections are dead though pings are answered, others are made: calls are kept, and found."""
    claim = await one_claim(publisher, claims)
    before = claim.write_until
    async with renewing(claims):
        server.kill_connections()
        await publish_anew(server)
        found: list[Claim] = []
        while not found:
            found = await claims.pull(1, within_seconds=2)
        while claim.write_until < before + 2 * LEASE_SECONDS:
            assert not claim.lost
            await asyncio.sleep(0.1)


async def publish_anew(server: Server) -> None:
    """Publish over a connection that is made now."""
    async with clients(server.host_port) as (publisher, _):
        await publish(publisher)
