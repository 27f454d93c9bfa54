"""From the webhook to the accept, beside the least that the same way can take: `python -m tests.bench own_path`.

Ours: a signed webhook arrives at the function under gunicorn, is published, pulled, confirmed and recorded by a
supervisor, decided, and accepted by REST. The floor: one publish and one pull, by the same clients on the same Pub/Sub.
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
from tests.bench.harness import PROJECT, TOPIC, Exchange, Server, exchange, openai_server, supervisor
from tests.bench.progress import say
from tests.support.deliveries import incoming, signed
from tests.support.edge_process import Edge, running_edge

ROUNDS, CALLS = 5, 20
PAUSE_SECONDS = 0.02
FLOOR = "floor"


class PathFigures(TypedDict):
    """Medians in milliseconds."""

    webhook_to_accept_ms: float
    publish_and_pull_ms: float
    extra_ms: float
    """The median of the rounds' own differences."""


async def measure(rounds: int = ROUNDS) -> PathFigures:
    """Measure both in turns, after one round to warm up."""
    ours, floor = [], []
    async with openai_server() as server, exchange() as at, clients(at.host_port) as (_, subscriber):
        await create_calls(at.host_port, project=PROJECT, topic=FLOOR, subscription=FLOOR)
        told = {"PUBSUB_EMULATOR_HOST": at.host_port, "GOOGLE_CLOUD_PROJECT": PROJECT, "CALLS_TOPIC": TOPIC}
        async with (
            running_edge(at.folder, told) as edge,
            supervisor(server, at) as claiming,
            aiohttp.ClientSession() as http,  # which keeps its connection, as OpenAI's senders may
        ):
            await claiming.ready()
            for _ in range(rounds + 1):
                floor.append(statistics.median([await _publish_and_pull(at, subscriber) for _ in range(CALLS)]))
                ours.append(statistics.median([await _ring(http, edge, server) for _ in range(CALLS)]))
                say(f"own path: {ours[-1]:.1f} ms to the accept, {floor[-1]:.1f} ms for a publish and a pull")
    del ours[0], floor[0]
    extra = [mine - least for mine, least in zip(ours, floor, strict=True)]
    return {
        "webhook_to_accept_ms": statistics.median(ours),
        "publish_and_pull_ms": statistics.median(floor),
        "extra_ms": statistics.median(extra),
    }


async def _ring(http: aiohttp.ClientSession, edge: Edge, server: Server) -> float:
    """Deliver a webhook; returns how long it took until its call was accepted."""
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


async def _publish_and_pull(at: Exchange, subscriber: SubscriberAsyncClient) -> float:
    waiting = asyncio.create_task(
        subscriber.pull(subscription=f"projects/{PROJECT}/subscriptions/{FLOOR}", max_messages=1, timeout=10)
    )
    await asyncio.sleep(PAUSE_SECONDS)
    began = time.time()
    await at.publisher.publish(topic=f"projects/{PROJECT}/topics/{FLOOR}", messages=[PubsubMessage(data=b"call")])
    received = await waiting
    took = 1000 * (time.time() - began)
    await subscriber.acknowledge(
        subscription=f"projects/{PROJECT}/subscriptions/{FLOOR}",
        ack_ids=[message.ack_id for message in received.received_messages],
    )
    return took
