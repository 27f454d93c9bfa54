"""Claims on a real Pub/Sub: the lease is the ownership, and its loss is noticed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from google.api_core.exceptions import NotFound
from google.pubsub_v1.types import PubsubMessage

from emulator.pubsub import serve
from emulator.pubsub.topology import create_calls
from supervisor.claims import FENCE_MARGIN_SECONDS, Claim, Claims
from tests.support.pubsub_servers import LONG_LEASE_SECONDS, Pubsub, clients

LEASE_SECONDS = 10


def claims_on(pubsub: Pubsub, *, lease_seconds: int = LEASE_SECONDS) -> Claims:
    return Claims(lambda: pubsub.subscriber, pubsub.subscription(), lease_seconds=lease_seconds)


async def pulled(claims: Claims, count: int) -> list[Claim]:
    """Pull until `count` claims are there: a pull may bring fewer than there are."""
    found: list[Claim] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found += await claims.pull(count - len(found))
    return found


@asynccontextmanager
async def renewing(claims: Claims) -> AsyncIterator[None]:
    task = asyncio.create_task(claims.renew_forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_pulls_no_more_than_free_slots(pubsub: Pubsub) -> None:
    """No more notices are claimed than there are free slots."""
    await pubsub.create_calls()
    for number in range(5):
        await pubsub.publish(b"%d" % number)
    mine, others = claims_on(pubsub), claims_on(pubsub)
    assert len(await mine.pull(2)) <= 2
    assert len(await pulled(others, 5 - len(mine))) == 5 - len(mine)


async def test_may_write_until_the_lease_ends(pubsub: Pubsub) -> None:
    """A claim may write until shortly before its lease can have run out."""
    await pubsub.create_calls()
    await pubsub.publish()
    before = time.monotonic()
    (claim,) = await pulled(claims_on(pubsub), 1)
    assert claim.may_write()
    assert claim.write_until < time.monotonic() + LEASE_SECONDS
    assert claim.write_until > before


async def test_a_lost_claim_is_fenced(pubsub: Pubsub) -> None:
    """A claim that went to another is fenced at the next renewal.

    Two claims are renewed in one request; only the lost one is fenced, and its owner is told.
    """
    await pubsub.create_calls()
    await pubsub.publish(b"a")
    await pubsub.publish(b"b")
    mine = claims_on(pubsub)
    lost, kept = await pulled(mine, 2)
    told: list[Claim] = []
    lost.on_lost = lambda: told.append(lost)
    await pubsub.nack(lost.ack_id)
    (theirs,) = await pulled(claims_on(pubsub), 1)
    assert theirs.message_id == lost.message_id
    await mine.renew()
    assert told == [lost]
    assert not lost.may_write()
    assert kept.may_write()


async def test_renewal_outlasts_a_lease(pubsub: Pubsub) -> None:
    """Renewal keeps a claim for longer than a lease."""
    await pubsub.create_calls()
    await pubsub.publish()
    mine = claims_on(pubsub)
    (claim,) = await pulled(mine, 1)
    async with renewing(mine):
        assert await pubsub.pull(seconds=LEASE_SECONDS + 3) == []
        assert claim.may_write()


async def test_race_of_renewal_and_new_claim(pubsub: Pubsub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that comes while others are renewed is not taken for late; it would ring for a whole lease."""
    await pubsub.create_calls(lease_seconds=LONG_LEASE_SECONDS)
    await pubsub.publish(b"a")
    mine = claims_on(pubsub, lease_seconds=LONG_LEASE_SECONDS)
    await pulled(mine, 1)
    modify, requests = pubsub.subscriber.modify_ack_deadline, asyncio.Queue[asyncio.Event]()

    async def held_back(**request: Any) -> None:
        go_on = asyncio.Event()
        requests.put_nowait(go_on)
        await go_on.wait()
        await modify(**request)

    monkeypatch.setattr(pubsub.subscriber, "modify_ack_deadline", held_back)
    renewal = asyncio.create_task(mine.renew())
    renewing_others = await requests.get()
    await pubsub.publish(b"b")
    pulling = asyncio.create_task(pulled(mine, 1))
    confirming = await requests.get()
    renewing_others.set()
    assert await renewal
    confirming.set()
    (claim,) = await pulling
    assert claim.may_write()
    assert len(mine) == 2


async def test_a_released_claim_moves_at_once(pubsub: Pubsub) -> None:
    """A released claim goes to another at once, not when its lease runs out."""
    await pubsub.create_calls(lease_seconds=LONG_LEASE_SECONDS)
    await pubsub.publish()
    mine, others = (claims_on(pubsub, lease_seconds=LONG_LEASE_SECONDS) for _ in range(2))
    (claim,) = await pulled(mine, 1)
    waiting = asyncio.create_task(pulled(others, 1))
    await mine.release([claim])
    assert not claim.may_write(), "whoever gave it back must not write"
    (theirs,) = await waiting
    assert theirs.message_id == claim.message_id


async def test_an_acked_notice_is_gone(pubsub: Pubsub) -> None:
    """An acknowledged notice does not come again."""
    await pubsub.create_calls()
    await pubsub.publish()
    mine = claims_on(pubsub)
    (claim,) = await pulled(mine, 1)
    assert await mine.ack(claim)
    assert await pubsub.ready() == []
    assert len(mine) == 0


async def test_cut_off_from_pubsub_it_is_fenced() -> None:
    """Cut off from Pub/Sub, a claim is fenced before its lease can have run out.

    The server goes away; the owner's own clock must say stop.
    """
    lost = asyncio.Event()
    async with AsyncExitStack() as server_up:
        server = await server_up.enter_async_context(serve())
        await create_calls(server.host_port, project="shop", topic="calls", subscription="claims")
        async with clients(server.host_port) as (publisher, client):
            mine = Claims(lambda: client, "projects/shop/subscriptions/claims", lease_seconds=LEASE_SECONDS)
            await publisher.publish(topic="projects/shop/topics/calls", messages=[PubsubMessage(data=b"call")])
            (claim,) = await pulled(mine, 1)
            claim.on_lost = lost.set
            async with renewing(mine):
                await server_up.aclose()
                cut_off_at = time.monotonic()
                async with asyncio.timeout(60):
                    await lost.wait()
    assert not claim.may_write()
    assert claim.write_until <= cut_off_at + LEASE_SECONDS - FENCE_MARGIN_SECONDS


async def test_no_subscription_fails_loudly(pubsub: Pubsub) -> None:
    """Pulling fails loudly where there is no subscription."""
    with pytest.raises(NotFound):
        await claims_on(pubsub).pull(1)
