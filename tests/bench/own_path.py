"""From the webhook to the accept, beside a bare publish and pull: `python -m tests.bench own_path`.

Ours: a signed webhook arrives at the function under gunicorn, is published, pulled, confirmed and recorded by a
supervisor, decided, and accepted by REST. Beside it: one publish and one pull, by the same clients on the same Pub/Sub.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TypedDict
from uuid import uuid4

import aiohttp
from google.pubsub_v1 import SubscriberAsyncClient
from google.pubsub_v1.types import PubsubMessage

from emulator.pubsub.topology import clients, create_calls
from tests.bench.harness import PROJECT, TOPIC, Exchange, Server, open_exchange, openai_server, supervisor
from tests.bench.progress import say
from tests.support.deliveries import incoming, signed
from tests.support.edge_process import Edge, running_edge

ROUNDS, CALLS = 5, 20
PAUSE_SECONDS = 0.02
BARE = "bare"  # the topic and the subscription of the bare publish and pull


class PathFigures(TypedDict):
    """Medians in milliseconds."""

    webhook_to_accept_ms: float
    publish_and_pull_ms: float
    extra_ms: float
    """The median of the rounds' own differences."""


async def measure(rounds: int = ROUNDS) -> PathFigures:
    """Measure both in turns, after one round to warm up."""
    ours, bare = [], []
    async with (
        openai_server() as server,
        open_exchange() as exchange,
        clients(exchange.host_port) as (_, subscriber),
    ):
        await create_calls(exchange.host_port, project=PROJECT, topic=BARE, subscription=BARE)
        settings = {"PUBSUB_EMULATOR_HOST": exchange.host_port, "GOOGLE_CLOUD_PROJECT": PROJECT, "CALLS_TOPIC": TOPIC}
        async with (
            running_edge(exchange.folder, settings) as edge,
            supervisor(server, exchange) as claiming,
            aiohttp.ClientSession() as http,  # which keeps its connection, as OpenAI's senders may
        ):
            await claiming.ready()
            for _ in range(rounds + 1):
                bare.append(statistics.median([await _publish_and_pull(exchange, subscriber) for _ in range(CALLS)]))
                ours.append(statistics.median([await _ring(http, edge, server) for _ in range(CALLS)]))
                say(f"own path: {ours[-1]:.1f} ms to the accept, {bare[-1]:.1f} ms for a publish and a pull")
    del ours[0], bare[0]
    extra = [mine - other for mine, other in zip(ours, bare, strict=True)]
    return {
        "webhook_to_accept_ms": statistics.median(ours),
        "publish_and_pull_ms": statistics.median(bare),
        "extra_ms": statistics.median(extra),
    }


async def _ring(http: aiohttp.ClientSession, edge: Edge, server: Server) -> float:
    """Deliver a webhook; returns the milliseconds until its call was accepted."""
    call_id = f"rtc_{uuid4().hex}"
    body = incoming(created_at=int(time.time()), call_id=call_id)
    headers = signed(body, timestamp=int(time.time()))
    began = time.time()
    async with http.post(f"{edge.url}/webhooks/openai", data=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    async with asyncio.timeout(10):
        while not (accepted := (await server.times()).get("accept", {}).get(call_id)):
            await asyncio.sleep(PAUSE_SECONDS)
    await asyncio.sleep(PAUSE_SECONDS)
    return 1000 * (accepted[0] - began)


async def _publish_and_pull(exchange: Exchange, subscriber: SubscriberAsyncClient) -> float:
    """Publish a message to a pull that waits; returns the milliseconds that it took."""
    waiting = asyncio.create_task(
        subscriber.pull(subscription=f"projects/{PROJECT}/subscriptions/{BARE}", max_messages=1, timeout=10)
    )
    await asyncio.sleep(PAUSE_SECONDS)
    began = time.time()
    await exchange.publisher.publish(topic=f"projects/{PROJECT}/topics/{BARE}", messages=[PubsubMessage(data=b"call")])
    received = await waiting
    took = 1000 * (time.time() - began)
    await subscriber.acknowledge(
        subscription=f"projects/{PROJECT}/subscriptions/{BARE}",
        ack_ids=[message.ack_id for message in received.received_messages],
    )
    return took
