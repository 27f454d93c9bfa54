"""Watches the topic of the calls for a while."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import grpc
from google.api_core.exceptions import DeadlineExceeded, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import Subscription
from pydantic import ValidationError

from function.errors import EdgeError
from function.notice import CallNotice

if TYPE_CHECKING:
    from types import TracebackType

REQUEST_SECONDS = 20

_TOPIC = re.compile(r"projects/[^/\s]+/topics/[^/\s]+")


class NoticeWatchError(EdgeError):
    """The topic can't be watched; the message says what to do."""


class NoticeWatch:
    """A block's own subscription to a topic.

    Should the process be killed before the block is left, Pub/Sub deletes the subscription after 31 days without use.

    Raises:
        NoticeWatchError: the subscription can't be made, or not be read.
    """

    def __init__(self, topic_path: str, *, emulator_host: str | None = None) -> None:
        self.topic_path = topic_path
        if not _TOPIC.fullmatch(topic_path):
            raise NoticeWatchError(f"{topic_path} is no topic: write it as projects/PROJECT/topics/TOPIC")
        project = topic_path.split("/")[1]
        self._subscription = f"projects/{project}/subscriptions/webhook-test-{uuid4().hex[:12]}"
        try:
            self._client = _client(emulator_host)
        except GoogleAuthError as error:
            raise NoticeWatchError(f"No Google credentials: {error}") from error

    def __enter__(self) -> Self:
        wanted = Subscription(name=self._subscription, topic=self.topic_path, ack_deadline_seconds=10)
        try:
            self._client.create_subscription(request=wanted, timeout=REQUEST_SECONDS)
        except (GoogleAPIError, GoogleAuthError) as error:
            raise NoticeWatchError(
                f"No subscription could be made to {self.topic_path}: {error}. You need roles/pubsub.editor."
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._client.delete_subscription(subscription=self._subscription, timeout=REQUEST_SECONDS)
        except GoogleAPIError as failure:
            raise NoticeWatchError(f"{self._subscription} could not be deleted: {failure}") from error

    def next(self, *, within_seconds: float) -> CallNotice | None:
        """Wait for a webhook's next notice; None, if time runs out."""
        deadline = time.monotonic() + within_seconds
        while (left_seconds := deadline - time.monotonic()) > 0:
            try:
                pulled = self._client.pull(
                    subscription=self._subscription, max_messages=10, timeout=left_seconds, retry=None
                )
            except DeadlineExceeded:
                break
            except GoogleAPIError as error:
                raise NoticeWatchError(f"{self._subscription} could not be read: {error}") from error
            for received in pulled.received_messages:
                notice = _notice(received.message.data)
                if notice and notice.source == "webhook":
                    return notice
        return None


def _notice(data: bytes) -> CallNotice | None:
    try:
        return CallNotice.parse(data)
    except ValidationError:
        return None


def _client(emulator_host: str | None) -> SubscriberClient:
    if not emulator_host:
        return SubscriberClient()
    return SubscriberClient(transport=SubscriberGrpcTransport(channel=grpc.insecure_channel(emulator_host)))
