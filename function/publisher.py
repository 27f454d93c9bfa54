"""The way to Pub/Sub: a notice is published when Pub/Sub has said so, and not before."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from google.api_core.exceptions import GoogleAPIError
from google.api_core.retry import Retry
from google.auth.exceptions import GoogleAuthError
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.types import BatchSettings

from function.errors import PublishError

if TYPE_CHECKING:
    from function.notice import CallNotice

# Every notice is sent at once: its caller is listening to the ringing tone.
_ONE_BY_ONE = BatchSettings(max_messages=1, max_latency=0)


class Publisher:
    """Publishes notices on one topic, from any thread.

    The client is made at the first notice, hence after the server has forked: gRPC does not survive a fork.
    """

    def __init__(self, topic_path: str, *, timeout_seconds: float) -> None:
        self._topic_path = topic_path
        self._timeout_seconds = timeout_seconds
        self._client: PublisherClient | None = None
        self._lock = threading.Lock()

    def publish(self, notice: CallNotice) -> str:
        """Publish a notice and wait until Pub/Sub has it.

        Returns:
            Pub/Sub's id of the message.

        Raises:
            PublishError: Pub/Sub did not confirm it in time. It may still have it: the supervisors expect duplicates.
        """
        retrying_seconds = 0.9 * self._timeout_seconds
        try:
            future = self._connected().publish(
                self._topic_path,
                notice.data(),
                retry=Retry(initial=0.1, maximum=1, timeout=retrying_seconds),
                timeout=retrying_seconds,
                **notice.attributes(),
            )
            message_id: str = future.result(timeout=self._timeout_seconds)
        except (GoogleAPIError, GoogleAuthError, TimeoutError) as error:
            reason = f"{self._topic_path} did not take the notice: {type(error).__name__}: {error}"
            raise PublishError(notice.call_id, reason) from error
        return message_id

    def _connected(self) -> PublisherClient:
        with self._lock:
            if self._client is None:
                self._client = PublisherClient(batch_settings=_ONE_BY_ONE)
            return self._client
