"""Publishes notices on Pub/Sub, and waits until Pub/Sub has them."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import grpc
from google.api_core.exceptions import GoogleAPIError
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient, PubsubMessage
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from function.concurrency import ConcurrencyLimit
from function.errors import PublishError

if TYPE_CHECKING:
    from function.notice import CallNotice

logger = logging.getLogger(__name__)

# When Pub/Sub is back after an outage, no call waits for gRPC's back-off, which grows to two minutes.
_CHANNEL_OPTIONS = [("grpc.max_reconnect_backoff_ms", 1000)]


class Publisher:
    """Publishes notices on one topic, from any thread.

    It uses the unary client, which sends a notice at once and answers in the caller's thread: batches, and the threads
    behind them, would outlive the request. The client is made once, by `warm` or by the first notice, and always after
    the server has forked, which gRPC would not survive.

    Args:
        topic_path: The topic's full name.
        timeout_seconds: How long a notice may take.
        max_waiting: How many notices may wait for Pub/Sub at once.
        emulator_host: The host:port of a Pub/Sub emulator.
    """

    def __init__(
        self, topic_path: str, *, timeout_seconds: float, max_waiting: int, emulator_host: str | None = None
    ) -> None:
        self._topic_path = topic_path
        self._limit = ConcurrencyLimit("Pub/Sub", max_waiting)
        self._timeout_seconds = timeout_seconds
        self._emulator_host = emulator_host
        self._client: PublisherClient | None = None
        self._lock = threading.Lock()

    def publish(self, notice: CallNotice) -> str:
        """Publish a notice; returns the message's id once Pub/Sub has it.

        Raises:
            PublishError: Pub/Sub did not confirm it in time. It may still have it: the supervisors expect duplicates.
            UnavailableError: too many notices wait already.
        """
        message = PubsubMessage(data=notice.data(), attributes=notice.attributes())
        try:
            with self._limit.slot():
                response = self._connected().publish(
                    topic=self._topic_path,
                    messages=[message],
                    retry=Retry(initial=0.1, maximum=1, timeout=self._timeout_seconds),
                    timeout=self._timeout_seconds,
                )
        except (GoogleAPIError, GoogleAuthError) as error:
            reason = f"{self._topic_path} did not take the notice: {type(error).__name__}: {error}"
            raise PublishError(notice.call_id, reason) from error
        return response.message_ids[0]

    def warm(self) -> None:
        """Connect now, in a thread: the first notice need not wait."""
        threading.Thread(target=self._warm, name="warm the publisher", daemon=True).start()

    def _warm(self) -> None:
        try:
            self._connected()
        except GoogleAuthError as error:
            logger.error("No credentials for Pub/Sub yet: %s", error)

    def _connected(self) -> PublisherClient:
        with self._lock:
            if self._client is None:
                if self._emulator_host:
                    channel = grpc.insecure_channel(self._emulator_host, options=_CHANNEL_OPTIONS)
                else:
                    channel = PublisherGrpcTransport.create_channel(options=_CHANNEL_OPTIONS)
                self._client = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
                channel.subscribe(lambda _state: None, try_to_connect=True)
            return self._client
