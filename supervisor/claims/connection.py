"""Connections to Pub/Sub.

One that has fallen silent is replaced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import google.auth
import grpc.aio
import structlog
from google.api_core import exceptions as google_errors
from google.api_core.client_options import ClientOptions
from google.pubsub_v1 import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

log = structlog.get_logger()

ERROR_BYTES = 4 * 1024 * 1024  # as on Google's own channels: an error that names many lost leases is long
KEEPALIVE_SHARE = 0.4  # of a lease: after so much silence a connection in use is pinged, and as long may the answer
# take; together it is less than a lease, and more than a slow way to Pub/Sub needs
CONNECT_MS = 2000  # a try to connect, and the longest pause between two; gRPC would take 20 s, and pause 120 s

Connect = Callable[[], SubscriberAsyncClient]


def connector(emulator_host: str, endpoint: str = "", *, lease_seconds: float) -> Connect:
    """Return what makes clients of the service, or of an emulator.

    The credentials are looked for once, since that may ask the network.

    Args:
        emulator_host: HOST:PORT; empty for the service.
        endpoint: of a region; empty for the global one.
        lease_seconds: within which a dead connection must be found.

    Raises:
        google.auth.exceptions.GoogleAuthError: there are no credentials for the service.
    """
    options = _channel_options(lease_seconds)
    if emulator_host:
        return partial(_emulator_client, emulator_host, options)
    credentials, _ = google.auth.default(scopes=SubscriberGrpcAsyncIOTransport.AUTH_SCOPES)
    return partial(
        SubscriberAsyncClient,
        credentials=credentials,
        client_options=ClientOptions(api_endpoint=endpoint or None),
        transport=partial(SubscriberGrpcAsyncIOTransport, channel=partial(_channel_to, options)),
    )


def _emulator_client(host_port: str, options: Sequence[tuple[str, Any]]) -> SubscriberAsyncClient:
    channel = grpc.aio.insecure_channel(host_port, options)
    return SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))


def _channel_to(ours: Sequence[tuple[str, Any]], host: str, *, options: object, **given: Any) -> grpc.aio.Channel:
    """Make a channel as the client would, with our options for its own."""
    del options
    return SubscriberGrpcAsyncIOTransport.create_channel(host, options=ours, **given)


def _channel_options(lease_seconds: float) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_metadata_size", ERROR_BYTES),
        ("grpc.use_local_subchannel_pool", 1),  # else a new channel goes over the old connection
        ("grpc.keepalive_time_ms", round(lease_seconds * KEEPALIVE_SHARE * 1000)),
        ("grpc.keepalive_timeout_ms", round(lease_seconds * KEEPALIVE_SHARE * 1000)),
        ("grpc.http2.max_pings_without_data", 0),  # a pull may wait for long
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", CONNECT_MS),
    ]


@dataclass(eq=False, slots=True)
class _Channel:
    """One client with its connection, and what it was asked."""

    client: SubscriberAsyncClient
    asked_at: list[float] = field(default_factory=list)
    """When each request was sent that has no answer yet; the earliest comes first."""
    answered_at: float = 0.0
    """When the last answer came; all times by `time.monotonic`."""

    def silent_seconds(self) -> float:
        """Tell for how long requests have waited while no answer came to any."""
        return time.monotonic() - max(self.asked_at[0], self.answered_at) if self.asked_at else 0.0

    def is_connected(self) -> bool:
        """Tell whether there is a connection, so that silence comes from beyond it."""
        transport = self.client.transport
        ready = grpc.ChannelConnectivity.READY
        return isinstance(transport, SubscriberGrpcAsyncIOTransport) and transport.grpc_channel.get_state() is ready


class Connection:
    """A connection to Pub/Sub, replaced when it leaves requests unanswered.

    gRPC itself connects again when a connection breaks, and pings find one that is dead. This finds the others: where
    pings are answered on the way, and requests are not.
    """

    def __init__(self, connect: Connect, *, patience_seconds: float) -> None:
        self._connect = connect
        self._shortest_patience_seconds = self._patience_seconds = patience_seconds
        self._channel = _Channel(connect())

    @asynccontextmanager
    async def request(self) -> AsyncIterator[SubscriberAsyncClient]:
        """Give the client for one request, which is sent within the block.

        Raises:
            google.api_core.exceptions.ServiceUnavailable: instead of DeadlineExceeded, when there is no connection.
        """
        if self._channel.silent_seconds() > self._patience_seconds:
            self._replace()
        channel, sent_at, answered = self._channel, time.monotonic(), True
        channel.asked_at.append(sent_at)
        try:
            yield channel.client
        except google_errors.DeadlineExceeded as error:
            answered = False
            if not channel.is_connected():
                raise google_errors.ServiceUnavailable("there is no connection to Pub/Sub") from error
            raise
        except (TimeoutError, asyncio.CancelledError):
            answered = False
            raise
        finally:
            channel.asked_at.remove(sent_at)
            if answered:
                channel.answered_at = time.monotonic()
                self._patience_seconds = self._shortest_patience_seconds
            elif channel is self._channel and channel.answered_at < sent_at < time.monotonic() - self._patience_seconds:
                self._replace()
            if channel is not self._channel and not channel.asked_at:
                await channel.client.transport.close()

    def _replace(self) -> None:
        """Have further requests go over a new connection.

        The old one is closed when nothing waits for it. The new one gets twice the time, since a slow way to Pub/Sub
        makes connecting slow too.
        """
        self._patience_seconds *= 2
        log.info("connection_replaced", unanswered=len(self._channel.asked_at))
        self._channel = _Channel(self._connect())

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.client.transport.close()
