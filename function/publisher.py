"""The way to Pub/Sub: a notice is published when Pub/Sub has said so, and not before."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc
from google.api_core.exceptions import GoogleAPIError
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient, PubsubMessage
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from function.errors import PublishError

if TYPE_CHECKING:
    from function.notice import CallNotice


# When Pub/Sub is back after an outage, no call waits for gRPC's back-off, which grows to two minutes.
_CHANNEL_OPTIONS = [("grpc.max_reconnect_backoff_ms", 1000)]


class Publisher:
    """Publishes notices on one topic, from any thread.

    It uses the unary client, which sends a notice at once and answers in the caller's thread: batches, and the threads
    behind them, would outlive the request. The client is made at the first notice, hence after the server has forked,
    which gRPC would not survive.
    """

    def __init__(self, topic_path: str, *, timeout_seconds: float, emulator_host: str | None = None) -> None:
        self._topic_path = topic_path
        self._timeout_seconds = timeout_seconds
        self._emulator_host = emulator_host
        self._client: PublisherClient | None = None
        self._lock = threading.Lock()

    def publish(self, notice: CallNotice) -> str:
        """Publish a notice and wait until Pub/Sub has it.

        Returns:
            Pub/Sub's id of the message.

        Raises:
            PublishError: Pub/Sub did not confirm it in time. It may still have it: the supervisors expect duplicates.
        """
        message = PubsubMessage(data=notice.data(), attributes=notice.attributes())
        try:
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

    def _connected(self) -> PublisherClient:
        with self._lock:
            if self._client is None:
                if self._emulator_host:
                    channel = grpc.insecure_channel(self._emulator_host, options=_CHANNEL_OPTIONS)
                else:
                    channel = PublisherGrpcTransport.create_channel(options=_CHANNEL_OPTIONS)
                self._client = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
            return self._client
