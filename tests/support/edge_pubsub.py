"""An embedded Pub/Sub for the edge, and the supervisors' end of it."""

from __future__ import annotations

import random
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc.aio
from google.pubsub_v1 import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from emulator.pubsub import serve
from emulator.pubsub.topology import create_calls
from function.notice import CallNotice
from tests.support.edge_process import PATIENCE_SECONDS, PROJECT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.pubsub_v1 import PubsubMessage

SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/claims"


class Claims:
    """The supervisors' side of Pub/Sub."""

    def __init__(self, client: SubscriberAsyncClient) -> None:
        self._client = client

    async def next_message(self) -> PubsubMessage:
        pulled = await self._client.pull(subscription=SUBSCRIPTION, max_messages=1, timeout=PATIENCE_SECONDS)
        [received] = pulled.received_messages
        await self._client.acknowledge(subscription=SUBSCRIPTION, ack_ids=[received.ack_id], timeout=PATIENCE_SECONDS)
        return received.message

    async def next_notice(self) -> CallNotice:
        return CallNotice.parse((await self.next_message()).data)

    async def next_call_id(self) -> str:
        return CallNotice.parse((await self.next_message()).data).call_id


@asynccontextmanager
async def pubsub(port: int = 0) -> AsyncIterator[tuple[str, Claims]]:
    async with serve(port=port) as server, grpc.aio.insecure_channel(server.host_port) as channel:
        yield (
            server.host_port,
            Claims(SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))),
        )


async def create_topic(host_port: str) -> None:
    await create_calls(host_port, project=PROJECT, topic="calls", subscription="claims")


def free_port() -> int:
    """A port outside the ephemeral range, which nobody is given by chance: a server can leave it and come back."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port in 100 tries")
