"""An embedded Pub/Sub for the function, and the supervisors' end of it."""

from __future__ import annotations

import random
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from emulator.pubsub import serve
from emulator.pubsub.topology import clients, create_calls
from function.notice import CallNotice
from tests.support.edge_process import PATIENCE_SECONDS, PROJECT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.pubsub_v1 import PubsubMessage, SubscriberAsyncClient

SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/claims"


class Claims:
    """What supervisors would pull; each message is acknowledged at once."""

    def __init__(self, client: SubscriberAsyncClient) -> None:
        self._client = client

    async def next_message(self) -> PubsubMessage:
        """Pull one message, waiting for it."""
        pulled = await self._client.pull(subscription=SUBSCRIPTION, max_messages=1, timeout=PATIENCE_SECONDS)
        [received] = pulled.received_messages
        await self._client.acknowledge(subscription=SUBSCRIPTION, ack_ids=[received.ack_id], timeout=PATIENCE_SECONDS)
        return received.message

    async def next_notice(self) -> CallNotice:
        """Pull one notice, waiting for it."""
        return CallNotice.parse((await self.next_message()).data)

    async def next_call_id(self) -> str:
        """Pull one notice, waiting for it; returns its call's id."""
        return (await self.next_notice()).call_id


@asynccontextmanager
async def pubsub(port: int = 0) -> AsyncIterator[tuple[str, Claims]]:
    """Serve Pub/Sub until the block is left; yields its HOST:PORT and its supervisors' end."""
    async with serve(port=port) as server, clients(server.host_port) as (_, subscriber):
        yield server.host_port, Claims(subscriber)


async def create_topic(host_port: str) -> None:
    """Create the function's topic, and the subscription that `Claims` pulls from."""
    await create_calls(host_port, project=PROJECT, topic="calls", subscription="claims")


def free_port() -> int:
    """Find a free port outside the ephemeral range.

    Nobody is given it by chance, so that a server can leave it and come back.
    """
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port in 100 tries")
