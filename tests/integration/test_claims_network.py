"""Claims behind a TCP proxy, on the embedded Pub/Sub and on Google's emulator: slow, dead and cut connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from supervisor.claims import Claim, Claims, connector
from tests.chaos.proxy import Proxy, proxy_to
from tests.support.pubsub_servers import Pubsub

LEASE_SECONDS = 6  # of renewals; the one that comes with a notice is 10 s
WITHIN_SECONDS = 60.0


@pytest.fixture
async def proxy(pubsub: Pubsub) -> AsyncIterator[Proxy]:
    async with proxy_to(pubsub.server.host_port) as running:
        yield running


@pytest.fixture
async def claims(pubsub: Pubsub, proxy: Proxy) -> AsyncIterator[Claims]:
    await pubsub.create_calls()
    connect = connector(proxy.host_port, lease_seconds=LEASE_SECONDS)
    made = Claims(connect, pubsub.subscription(), lease_seconds=LEASE_SECONDS)
    yield made
    await made.close()


async def pulled(claims: Claims) -> Claim:
    """Pull until a claim is there."""
    while not (found := await claims.pull(1)):
        pass
    return found[0]


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


async def kept(claim: Claim, leases: int) -> None:
    """Wait until a claim was renewed for some leases more."""
    before = claim.write_until
    while claim.write_until < before + leases * LEASE_SECONDS:
        assert not claim.lost
        await asyncio.sleep(0.1)  # a clock does not tell


async def test_a_dead_connection(pubsub: Pubsub, proxy: Proxy, claims: Claims) -> None:
    """Calls in hand are kept, and new ones are found, over connections that are made anew."""
    async with renewing(claims):
        await pubsub.publish(b"a")
        claim = await pulled(claims)
        proxy.deaden()
        await pubsub.publish(b"b")
        assert (await pulled(claims)).data == b"b"
        await kept(claim, 2)
        assert claims.healthy


async def test_a_dead_idle_connection(pubsub: Pubsub, proxy: Proxy, claims: Claims) -> None:
    """That nothing is renewed does not hide it: what rings next is found all the same."""
    async with asyncio.timeout(WITHIN_SECONDS):
        assert await claims.pull(1, within_seconds=1) == []
        proxy.deaden()
        await pubsub.publish(b"a")
        assert (await pulled(claims)).confirmed


async def test_a_slow_way(pubsub: Pubsub, proxy: Proxy, claims: Claims) -> None:
    """Everything takes long there and back, connecting too; calls are taken and kept."""
    proxy.late_seconds = 0.8
    await pubsub.publish(b"a")
    async with renewing(claims):
        await kept(await pulled(claims), 3)


async def test_a_cut_way(pubsub: Pubsub, proxy: Proxy, claims: Claims) -> None:
    """Once another has had the call, no renewal succeeds any more, even when that one has given it back."""
    await pubsub.publish(b"a")
    async with renewing(claims):
        claim = await pulled(claims)
        proxy.cut()
        (theirs,) = await pubsub.pull_all(1)
        assert not claim.may_write()
        await pubsub.nack(theirs.ack_id)
        proxy.mend()
        assert not await claim.verdict()
