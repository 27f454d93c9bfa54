"""Claims: the Pub/Sub lease of a notice is the ownership of its call.

`Claims.pull` leases as many notices as there are free slots. `Claims.renew_forever` extends all of them with one
batched request every third of a lease. A claim that is lost, or can't be renewed in time, is fenced: `Claim.may_write`
says no before Pub/Sub can have given the notice to another, and `Claim.on_lost` is called.

Why unary calls and an own loop: Google's streaming client hoards surplus messages, drops leases after an hour, and
never tells the application that a lease was lost. Exactly-once delivery makes the ack id a fencing token: using it
after the lease was lost fails with INVALID_ARGUMENT and names the ack id in its ErrorInfo.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import grpc.aio
import structlog
from google.api_core import exceptions as google_errors
from google.api_core.client_options import ClientOptions
from google.pubsub_v1 import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.rpc.error_details_pb2 import ErrorInfo

from supervisor.claims.claim import Claim

log = structlog.get_logger()

FENCE_MARGIN_SECONDS = 1.0  # writing stops this long before the lease can have run out
PULL_SECONDS = 6.0  # how long one pull may wait at the server; short, since a stopping process lets its pull end
REQUEST_SECONDS = 2.0  # every other request: two tries fit between a renewal that was due and the fence of a 10 s lease
RELEASE_AGAIN_SECONDS = 0.1  # a caller waits
RETRY_SECONDS = 0.5  # between a renewal that failed and the next
ERROR_BYTES = 4 * 1024 * 1024  # as on Google's own channels: an error that names many lost leases is long
LAST_ATTEMPT = 45  # of the 50 deliveries that Pub/Sub makes: from here on a call that nobody can run is ended
BATCH = 1000  # ack ids in one request; the service allows 512 kB, an ack id is about 200 bytes


def subscriber(emulator_host: str, endpoint: str = "") -> SubscriberAsyncClient:
    """Make Google's asyncio client, for the service (at a region's endpoint) or for an emulator at HOST:PORT."""
    if not emulator_host:
        return SubscriberAsyncClient(client_options=ClientOptions(api_endpoint=endpoint or None))
    channel = grpc.aio.insecure_channel(emulator_host, [("grpc.max_metadata_size", ERROR_BYTES)])
    return SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))


class Claims:
    """Pull, renew, acknowledge and release the claims of this process."""

    def __init__(self, client: SubscriberAsyncClient, subscription: str, *, lease_seconds: int) -> None:
        self._client = client
        self.subscription = subscription
        self._lease_seconds = lease_seconds
        self._held: set[Claim] = set()

    def __len__(self) -> int:
        return len(self._held)

    async def pull(self, max_messages: int, *, within_seconds: float = PULL_SECONDS) -> list[Claim]:
        """Wait for notices and lease them; return none when none came in time.

        A claim is returned only after its lease was confirmed by a first renewal: a message may have lain in our
        socket, unseen, for longer than its lease.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: Pub/Sub refused, or was not to be reached.
        """
        try:
            response = await self._client.pull(
                subscription=self.subscription, max_messages=max_messages, retry=None, timeout=within_seconds
            )
        except google_errors.DeadlineExceeded:
            return []
        claims = [
            Claim(
                ack_id=received.ack_id,
                message_id=received.message.message_id,
                data=received.message.data,
                delivery_attempt=received.delivery_attempt,
            )
            for received in response.received_messages
        ]
        await self._extend(claims)
        for claim in [claim for claim in claims if not claim.may_write()]:
            self._fence(claim, "it could not be confirmed")
        confirmed = [claim for claim in claims if not claim.lost]
        self._held.update(confirmed)  # not sooner, or a renewal that is under way would find them late
        return confirmed

    @property
    def healthy(self) -> bool:
        """Whether Pub/Sub answers renewals, so that new calls may be taken."""
        return True

    async def renew_forever(self) -> None:
        """Renew every lease each third of its length, until cancelled."""
        pause_seconds = self._lease_seconds / 3
        while True:
            await asyncio.sleep(pause_seconds)
            renewed = await self.renew()
            pause_seconds = self._lease_seconds / 3 if renewed else RETRY_SECONDS

    async def renew(self) -> bool:
        """Extend every lease once, and fence claims that are lost or late; False when to try again soon."""
        renewed = await self._extend(list(self._held))
        for claim in [claim for claim in self._held if not claim.may_write()]:
            self._fence(claim, "its lease could not be renewed in time")
        return renewed

    async def _extend(self, claims: Sequence[Claim]) -> bool:
        return all(await asyncio.gather(*(self._modify(batch, self._lease_seconds) for batch in _batches(claims))))

    async def _modify(self, claims: Sequence[Claim], deadline_seconds: int) -> bool:
        """Set the deadline of a batch of leases; False when the request failed and should be retried."""
        sent_at = time.monotonic()  # the lease runs from some moment after this one
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._client.modify_ack_deadline(
                    subscription=self.subscription,
                    ack_ids=[claim.ack_id for claim in claims],
                    ack_deadline_seconds=deadline_seconds,
                    retry=None,
                    timeout=REQUEST_SECONDS,
                )
            refused: dict[str, str] = {}
        except google_errors.InvalidArgument as error:
            refused = _refused_ack_ids(error)
            if not refused:
                log.error("pubsub_refused_renewal", error=str(error), claims=len(claims))
                return False
        except (google_errors.GoogleAPICallError, TimeoutError) as error:
            log.warning("renewal_failed", error=str(error) or "time-out", claims=len(claims))
            return False
        for claim in claims:
            reason = refused.get(claim.ack_id)
            if reason is None:
                claim.renew(sent_at + deadline_seconds - FENCE_MARGIN_SECONDS)
            elif reason.startswith("PERMANENT_FAILURE"):
                self._fence(claim, "Pub/Sub says that its lease is over")
        return not any(reason.startswith("TRANSIENT_FAILURE") for reason in refused.values())

    def _fence(self, claim: Claim, reason: str) -> None:
        self._held.discard(claim)
        if not claim.lost:
            claim.end()
            log.warning("claim_lost", **_named(claim), reason=reason)
            claim.on_lost()

    async def ack(self, claim: Claim) -> bool:
        """End a claim, since its call is over; False when unconfirmed, so that the notice will come again."""
        self._held.discard(claim)
        claim.end()  # a renewal that is under way must not find it lost
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                await self._client.acknowledge(
                    subscription=self.subscription, ack_ids=[claim.ack_id], retry=None, timeout=REQUEST_SECONDS
                )
        except (google_errors.GoogleAPICallError, TimeoutError) as error:
            log.warning("ack_failed", **_named(claim), error=str(error) or "time-out")
            return False
        return True

    async def release(self, claims: Sequence[Claim], *, after_seconds: int = 0) -> None:
        """Give claims back, at once (a nack) or after some seconds, so that another supervisor can have them.

        It is retried until Pub/Sub has confirmed it, or the leases have run out.
        """
        self._held.difference_update(claims)
        ours = [claim for claim in claims if not claim.lost]
        for claim in ours:
            claim.end()  # from here on another may own it
        await asyncio.gather(*(self._give_back(batch, after_seconds) for batch in _batches(ours)))

    async def _give_back(self, claims: Sequence[Claim], after_seconds: int) -> None:
        until = max(claim.write_until for claim in claims) + FENCE_MARGIN_SECONDS
        while True:
            if await self._modify(claims, after_seconds) or time.monotonic() > until:
                return
            await asyncio.sleep(RELEASE_AGAIN_SECONDS)


def _named(claim: Claim) -> dict[str, str]:
    """Name a claim for the log; its call is known once the notice was read."""
    named = {"message_id": claim.message_id}
    return named | {"call_id": claim.call_id} if claim.call_id else named


def _batches(claims: Sequence[Claim]) -> list[Sequence[Claim]]:
    return [claims[start : start + BATCH] for start in range(0, len(claims), BATCH)]


def _refused_ack_ids(error: google_errors.GoogleAPICallError) -> dict[str, str]:
    """Read the ack ids that Pub/Sub refused, and why; it applied the request to all others (google.rpc.ErrorInfo)."""
    return {
        ack_id: reason
        for detail in error.details
        if isinstance(detail, ErrorInfo)
        for ack_id, reason in detail.metadata.items()
        if reason.startswith(("PERMANENT_FAILURE", "TRANSIENT_FAILURE"))
    }
