"""The least that a worker can do and still say that it has pulled: what the supervisor is measured against."""

from __future__ import annotations

import asyncio
import os
from http import HTTPStatus

import grpc.aio
from google.pubsub_v1 import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response


async def main() -> None:
    """Pull once, and be ready until killed."""
    pulled = asyncio.Event()

    def health(connection: ServerConnection, _request: Request) -> Response:
        return connection.respond(HTTPStatus.OK if pulled.is_set() else HTTPStatus.SERVICE_UNAVAILABLE, "")

    channel = grpc.aio.insecure_channel(os.environ["PUBSUB_EMULATOR_HOST"])
    client = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
    subscription = f"projects/{os.environ['GOOGLE_CLOUD_PROJECT']}/subscriptions/{os.environ['CALLS_SUBSCRIPTION']}"
    host, _, port = os.environ["HEALTH_ADDRESS"].rpartition(":")
    async with serve(never, host, int(port), process_request=health):
        await client.pull(subscription=subscription, max_messages=1)
        pulled.set()
        await asyncio.get_running_loop().create_future()


async def never(_connection: ServerConnection) -> None:
    """Serve nothing: every request is answered before it becomes a WebSocket."""


if __name__ == "__main__":
    asyncio.run(main())
