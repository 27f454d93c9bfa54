"""The gRPC server around the broker: it waits, the broker decides.

Everything happens on one event loop, between two awaits, so no request ever sees another half done. A pull that is
cancelled while it waits has taken nothing; one whose answer cannot be written gives back what it took.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import grpc
import grpc.aio
import proto
from google.api_core import exceptions
from google.protobuf import empty_pb2
from google.pubsub_v1 import types
from google.rpc import status_pb2
from grpc_status import rpc_status

from emulator.pubsub.broker import Broker
from emulator.pubsub.latency import Latencies, Latency, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    _Context = grpc.aio.ServicerContext[Any, Any]
    _Handler = grpc.RpcMethodHandler[Any, Any]

LONGEST_PULL_SECONDS = 60.0
STOP_SECONDS = 1.0
_MAX_REQUEST_BYTES = 10 * 1024 * 1024

_Request = TypeVar("_Request", bound=proto.Message)
_Response = TypeVar("_Response", bound=proto.Message | None)


class Server:
    """A running Pub/Sub server."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.host_port = ""
        """Where it listens, as `PUBSUB_EMULATOR_HOST` wants it."""
        self.latency = Latencies()
        """How long each method takes; change it at any time."""
        self._clock = clock
        self._broker = Broker(clock, on_ready=self._wake_pulls)
        self._ready = asyncio.Event()
        self._stopping = False
        self._timer: asyncio.TimerHandle | None = None
        self._peers: set[str] = set()
        self._dead_peers: set[str] = set()

    def kill_connections(self) -> None:
        """Leave the connections that are open now without effect and without answer, for good.

        They stay open, and HTTP/2 pings are answered, as by a proxy that has lost its way to the server. Connections
        that are opened later work.
        """
        self._dead_peers |= self._peers
        self._peers.clear()
        self._wake_pulls()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return the gRPC services.

        Their methods are those that the broker knows; gRPC answers UNIMPLEMENTED for the others.
        """
        broker, at_once = self._broker, self._at_once
        publisher = {
            "CreateTopic": at_once(broker.create_topic, types.Topic),
            "GetTopic": at_once(broker.get_topic, types.GetTopicRequest),
            "ListTopics": at_once(broker.list_topics, types.ListTopicsRequest),
            "ListTopicSubscriptions": at_once(broker.list_topic_subscriptions, types.ListTopicSubscriptionsRequest),
            "DeleteTopic": at_once(broker.delete_topic, types.DeleteTopicRequest),
            "Publish": at_once(broker.publish, types.PublishRequest, lambda: self.latency.publish),
        }
        subscriber = {
            "CreateSubscription": at_once(broker.create_subscription, types.Subscription),
            "GetSubscription": at_once(broker.get_subscription, types.GetSubscriptionRequest),
            "ListSubscriptions": at_once(broker.list_subscriptions, types.ListSubscriptionsRequest),
            "DeleteSubscription": at_once(broker.delete_subscription, types.DeleteSubscriptionRequest),
            "Acknowledge": at_once(broker.acknowledge, types.AcknowledgeRequest, lambda: self.latency.acknowledge),
            "ModifyAckDeadline": at_once(
                broker.modify_ack_deadline, types.ModifyAckDeadlineRequest, lambda: self.latency.modify_ack_deadline
            ),
            # One message and a status look the same from a streaming handler; only that one learns of a failed write.
            "Pull": grpc.unary_stream_rpc_method_handler(
                self.pull, types.PullRequest.deserialize, types.PullResponse.serialize
            ),
        }
        return [
            grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", publisher),
            grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", subscriber),
        ]

    def _at_once(
        self,
        method: Callable[[_Request], _Response],
        request_type: type[_Request],
        latency: Callable[[], Latency] = Latency,
    ) -> _Handler:
        """Serve a method of the broker that answers without waiting, but for its latency."""

        async def serve_method(request: _Request, context: _Context) -> _Response:
            now = latency()
            await self._arrive(now, context)
            try:
                answer: _Response | exceptions.GoogleAPICallError = method(request)
            except exceptions.GoogleAPICallError as refusal:
                answer = refusal
            finally:
                self._set_timer()
            await self._answer(now, context)
            if isinstance(answer, exceptions.GoogleAPICallError):
                await _refuse(context, answer)
            return answer

        return grpc.unary_unary_rpc_method_handler(serve_method, request_type.deserialize, _serialize)

    async def _arrive(self, latency: Latency, context: _Context) -> None:
        """Wait until a request takes effect."""
        self._peers.add(context.peer())
        await latency.arrive()
        if self._is_dead(context):
            await silence()

    async def _answer(self, latency: Latency, context: _Context) -> None:
        """Wait until the answer to a request is due."""
        await latency.answer()
        if self._is_dead(context):
            await silence()

    def _is_dead(self, context: _Context) -> bool:
        return context.peer() in self._dead_peers

    async def pull(self, request: types.PullRequest, context: _Context) -> None:
        """Answer with the ready messages, or wait for the first."""
        latency = self.latency.pull
        await self._arrive(latency, context)
        try:
            response = await self._first_messages(request, context)
        except exceptions.GoogleAPICallError as refusal:
            await self._answer(latency, context)
            await _refuse(context, refusal)
        try:
            await self._answer(latency, context)
            await context.write(response)
        except (asyncio.CancelledError, grpc.aio.BaseError):
            self._give_back(request.subscription, response)
            raise

    async def _first_messages(self, request: types.PullRequest, context: _Context) -> types.PullResponse:
        """Take messages, or none if none comes in time.

        They are taken in the very step in which this returns, so that a cancelled pull has taken nothing.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_wait_seconds(context.time_remaining())):
                while not self._is_dead(context):
                    response = self._broker.pull(request)
                    if response.received_messages or request.return_immediately:
                        self._set_timer()
                        return response
                    await self._ready.wait()
                    if self._stopping:
                        raise exceptions.ServiceUnavailable("Pub/Sub is stopping")
        return types.PullResponse()

    def _give_back(self, subscription: str, response: types.PullResponse) -> None:
        """Nack what was pulled for a client that is gone."""
        ack_ids = [received.ack_id for received in response.received_messages]
        nack = types.ModifyAckDeadlineRequest(subscription=subscription, ack_ids=ack_ids, ack_deadline_seconds=0)
        with suppress(exceptions.GoogleAPICallError):  # nothing was pulled, or the subscription is gone too
            self._broker.modify_ack_deadline(nack)

    def _wake_pulls(self) -> None:
        self._ready.set()
        self._ready.clear()  # wakes those that wait now, and none that comes later

    def _set_timer(self) -> None:
        """Set the timer for when the next lease runs out."""
        if self._timer:
            self._timer.cancel()
        expiry = self._broker.next_expiry()
        if expiry is not None:
            self._timer = asyncio.get_running_loop().call_later(expiry - self._clock(), self._expire)

    def _expire(self) -> None:
        self._broker.expire_leases()
        self._set_timer()

    def close(self) -> None:
        """End the pulls that wait, and stop the timer."""
        self._stopping = True
        self._wake_pulls()
        if self._timer:
            self._timer.cancel()


@asynccontextmanager
async def serve(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Server]:
    """Serve Pub/Sub for the block; port 0 takes a free one.

    Raises:
        RuntimeError: the port is taken.
    """
    started = time.time() - time.monotonic()

    def clock() -> float:
        return started + time.monotonic()

    server = Server(clock)
    options = [("grpc.max_receive_message_length", _MAX_REQUEST_BYTES), ("grpc.so_reuseport", 0)]
    listener = grpc.aio.server(options=options)
    listener.add_generic_rpc_handlers(server.handlers())
    server.host_port = f"{host}:{listener.add_insecure_port(f'{host}:{port}')}"
    await listener.start()
    try:
        yield server
    finally:
        server.close()
        await listener.stop(STOP_SECONDS)


def _wait_seconds(time_remaining: float | None) -> float:
    """Say how long a pull waits.

    It answers a second before its client gives up, or half-way if that is soon.
    """
    if time_remaining is None:
        return LONGEST_PULL_SECONDS
    return min(max(time_remaining - 1, time_remaining / 2), LONGEST_PULL_SECONDS)


async def _refuse(context: _Context, refusal: exceptions.GoogleAPICallError) -> NoReturn:
    """Answer with the error that makes Google's clients raise `refusal`."""
    code = refusal.grpc_status_code or grpc.StatusCode.UNKNOWN
    status = status_pb2.Status(code=code.value[0], message=refusal.message)
    for detail in refusal.details:
        status.details.add().Pack(detail)
    await context.abort_with_status(rpc_status.to_status(status))


def _serialize(response: proto.Message | None) -> bytes:
    data: bytes = empty_pb2.Empty().SerializeToString() if response is None else type(response).serialize(response)
    return data
