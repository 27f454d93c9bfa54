"""Pull notices, and keep their leases.

All leases are renewed by one batched request, every third of their length.

Why unary calls and an own loop: Google's streaming client hoards surplus messages, drops leases after an hour, and
never tells the application that a lease was lost.

Pub/Sub may be slow. So a renewal that is late is not given up: another is sent beside it, and the first that succeeds
counts, from when it was sent. Until then a claim lapses rather than is lost: see `Claim`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog
from google.api_core import exceptions as google_errors
from google.rpc.error_details_pb2 import ErrorInfo

from supervisor.claims.claim import Claim
from supervisor.claims.connection import Connect, Connection
from supervisor.claims.hedging import hedged

log = structlog.get_logger()

FENCE_MARGIN_SECONDS = 1.0  # writing stops this long before the lease can have run out
SHORTEST_LEASE_SECONDS = 10.0  # that Pub/Sub gives: no subscription may have a shorter ack deadline
PULL_SECONDS = 6.0  # how long one pull may wait at the server; short, since a stopping process lets its pull end
RETRY_SECONDS = 0.5  # between a renewal that failed and the next
BATCH = 1000  # ack ids in one request; the service allows 512 kB, an ack id is about 200 bytes

# Shares of a lease.
RENEWAL_SHARE = 1 / 3  # from one renewal to the next, and how long they may fail before no new calls are taken
PATIENCE_SHARE = 1 / 4  # a connection that says nothing for so long is replaced, well before a lease runs out
LATE_SHARE = 1 / 10  # a request that takes longer gets another beside it

LAST_ATTEMPT = 45  # of the 50 deliveries that Pub/Sub makes: from here on a call that nobody can run is ended
LAST_RESORT_SECONDS = 4.0  # what its owner gets for that, of the lease that came with the notice
FREE_ATTEMPTS = 5  # deliveries after which notices that could not be confirmed are held back, one second more each time


class Claims:
    """Pull, renew, acknowledge and release the claims of this process."""

    def __init__(self, connect: Connect, subscription: str, *, lease_seconds: int) -> None:
        self.subscription = subscription
        self._lease_seconds = lease_seconds
        self._late_seconds = lease_seconds * LATE_SHARE
        self._pulls = Connection(connect, patience_seconds=lease_seconds * PATIENCE_SHARE)
        self._requests = Connection(connect, patience_seconds=lease_seconds * PATIENCE_SHARE)
        self._held: set[Claim] = set()
        self._new: set[Claim] = set()
        """Pulled, and not yet confirmed or given back."""
        self._unanswered_since: float | None = None
        self._succeeded_at = 0.0
        """When the last request was sent that Pub/Sub answered."""
        self._failing = False
        """Whether a request failed since."""
        self._lapsed = False

    def __len__(self) -> int:
        return len(self._held)

    async def close(self) -> None:
        """Close the connections."""
        await self._pulls.close()
        await self._requests.close()

    @property
    def healthy(self) -> bool:
        """Whether Pub/Sub renews leases, so that new calls may be taken.

        Without leases nobody knows, and the next pull will tell.
        """
        if not self._held and not self._new:
            return True
        since, now = self._unanswered_since, time.monotonic()
        return not self._failing and (since is None or now - since < self._lease_seconds * RENEWAL_SHARE)

    # Pull.

    async def pull(self, max_messages: int, *, within_seconds: float = PULL_SECONDS) -> list[Claim]:
        """Wait for notices and lease them; return none when none came in time.

        A claim is returned when a first renewal has confirmed it: so calls are taken only where they can be kept. One
        that Pub/Sub does not confirm is given back, and nothing more is pulled before Pub/Sub has answered: each pull
        costs a notice one of its deliveries. From `LAST_ATTEMPT` on, a claim is returned unconfirmed.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: Pub/Sub refused, or was not to be reached.
        """
        claims = await self._pull(max_messages, within_seconds)
        self._new.update(claims)
        try:
            await self._confirm(claims)
            kept = [claim for claim in claims if _is_kept(claim)]
            self._held.update(kept)
            await self._give_up([claim for claim in claims if not claim.lost and not _is_kept(claim)], wait=not kept)
        finally:
            self._new.difference_update(claims)
        return kept

    async def _pull(self, max_messages: int, within_seconds: float) -> list[Claim]:
        sent_at = time.monotonic()  # the leases run from some moment after this one
        lease_seconds = min(SHORTEST_LEASE_SECONDS, self._lease_seconds)  # a first renewal to less shortens it
        try:
            async with self._pulls.request() as client:
                response = await client.pull(
                    subscription=self.subscription, max_messages=max_messages, retry=None, timeout=within_seconds
                )
        except google_errors.DeadlineExceeded:
            return []
        return [
            Claim(
                ack_id=received.ack_id,
                message_id=received.message.message_id,
                data=received.message.data,
                delivery_attempt=received.delivery_attempt,
                write_until=sent_at + lease_seconds - FENCE_MARGIN_SECONDS,
            )
            for received in response.received_messages
        ]

    async def _confirm(self, claims: Sequence[Claim]) -> None:
        """Renew new claims for the first time, within their lease."""
        if not claims:
            return
        patience = self._lease_seconds - FENCE_MARGIN_SECONDS
        if any(claim.delivery_attempt >= LAST_ATTEMPT for claim in claims):
            patience = max(claims[0].write_until - LAST_RESORT_SECONDS - time.monotonic(), self._late_seconds)

        async def renew() -> bool:
            return await self._extend([claim for claim in claims if not claim.confirmed and not claim.lost])

        await hedged(renew, late_seconds=self._late_seconds, within_seconds=patience, name="confirm claims")

    async def _give_up(self, claims: Sequence[Claim], *, wait: bool) -> None:
        """Give back what could not be confirmed.

        With `wait`, it ends when Pub/Sub has answered, however long that takes.
        """
        if not claims:
            return
        log.warning("claims_unconfirmed", claims=len(claims))
        for claim in claims:
            claim.end()
        pause_seconds = max(0, max(claim.delivery_attempt for claim in claims) - FREE_ATTEMPTS)
        while not await self._give_back(claims, pause_seconds) and wait:
            pass

    # Renew.

    async def renew_forever(self) -> None:
        """Renew every lease each third of its length, until cancelled.

        When a renewal is late, another is sent beside it at once.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                renewal = group.create_task(self.renew(), name="renewal")
                done, _ = await asyncio.wait([renewal], timeout=self._late_seconds)
                self._fence_overdue()
                if done:
                    pause_seconds = self._lease_seconds * RENEWAL_SHARE if renewal.result() else RETRY_SECONDS
                    await asyncio.sleep(pause_seconds)

    async def renew(self) -> bool:
        """Extend every lease once; False when to try again soon."""
        return await self._extend(list(self._held))

    def _fence_overdue(self) -> None:
        """Fence what has lapsed for as long as a lease."""
        now = time.monotonic()
        lapsed = [claim for claim in self._held if not claim.may_write()]
        if lapsed and not self._lapsed:
            log.warning("claims_lapsed", claims=len(lapsed))
        self._lapsed = bool(lapsed)
        for claim in lapsed:
            if now >= claim.write_until + self._lease_seconds:
                self._fence(claim, "its lease could not be renewed in time")

    async def _extend(self, claims: Sequence[Claim]) -> bool:
        return all(await asyncio.gather(*(self._modify(batch, self._lease_seconds) for batch in _batches(claims))))

    async def _modify(self, claims: Sequence[Claim], deadline_seconds: int) -> bool:
        """Set the deadline of a batch of leases; False when to retry."""
        sent_at = time.monotonic()  # the lease runs from some moment after this one
        if self._unanswered_since is None:
            self._unanswered_since = sent_at
        patience = 2 * self._lease_seconds  # later the claims would be lost anyway
        try:
            async with self._requests.request() as client, asyncio.timeout(patience):
                await client.modify_ack_deadline(
                    subscription=self.subscription,
                    ack_ids=[claim.ack_id for claim in claims],
                    ack_deadline_seconds=deadline_seconds,
                    retry=None,
                    timeout=patience,
                )
            refused: dict[str, str] = {}
        except (google_errors.GoogleAPICallError, TimeoutError) as error:
            refused = _refused_ack_ids(error)
            if not refused:
                self._failing = self._failing or sent_at > self._succeeded_at
                _log_failure(error, len(claims))
                return False
        self._unanswered_since, self._failing = None, False
        self._succeeded_at = max(self._succeeded_at, sent_at)
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

    # Let go.

    async def ack(self, claim: Claim) -> bool:
        """Acknowledge a claim's notice, since its call is over.

        Returns False when Pub/Sub did not confirm it, so that the notice may come again.
        """
        self._held.discard(claim)
        claim.end()  # a renewal that is under way must not find it lost
        sent = 0

        async def acknowledge() -> bool:
            nonlocal sent
            sent += 1
            return await self._acknowledge(claim, again=sent > 1)

        return await hedged(
            acknowledge, late_seconds=self._late_seconds, within_seconds=self._lease_seconds, name="acknowledge"
        )

    async def _acknowledge(self, claim: Claim, *, again: bool) -> bool:
        """Acknowledge once; `again` tells that an earlier request may have done it."""
        try:
            async with self._requests.request() as client:
                await client.acknowledge(
                    subscription=self.subscription, ack_ids=[claim.ack_id], retry=None, timeout=self._lease_seconds
                )
        except (google_errors.GoogleAPICallError, TimeoutError) as error:
            log.warning("ack_failed", **_named(claim), error=str(error) or "time-out")
            return again and bool(_refused_ack_ids(error))
        return True

    async def release(self, claims: Sequence[Claim], *, after_seconds: int = 0) -> None:
        """Give claims back, at once (a nack) or after some seconds.

        It is retried until Pub/Sub has confirmed it, or the leases have run out.
        """
        self._held.difference_update(claims)
        ours = [claim for claim in claims if not claim.lost]
        for claim in ours:
            claim.end()  # from here on another may own it
        await self._give_back(ours, after_seconds)

    async def _give_back(self, claims: Sequence[Claim], after_seconds: int) -> bool:
        """Cut leases to some seconds; False without an answer within a lease."""

        async def give_back() -> bool:
            return all(await asyncio.gather(*(self._modify(batch, after_seconds) for batch in _batches(claims))))

        return await hedged(
            give_back, late_seconds=self._late_seconds, within_seconds=self._lease_seconds, name="give claims back"
        )


def _is_kept(claim: Claim) -> bool:
    """Tell whether a new claim gets an owner."""
    return not claim.lost and (claim.confirmed or claim.delivery_attempt >= LAST_ATTEMPT)


def _named(claim: Claim) -> dict[str, str]:
    """Name a claim for the log, by its call once that is known."""
    named = {"message_id": claim.message_id}
    return named | {"call_id": claim.call_id} if claim.call_id else named


def _batches(claims: Sequence[Claim]) -> list[Sequence[Claim]]:
    return [claims[start : start + BATCH] for start in range(0, len(claims), BATCH)]


def _log_failure(error: Exception, claims: int) -> None:
    if isinstance(error, google_errors.InvalidArgument):
        log.error("pubsub_refused_renewal", error=str(error), claims=claims)
    else:
        log.warning("renewal_failed", error=str(error) or "time-out", claims=claims)


def _refused_ack_ids(error: Exception) -> dict[str, str]:
    """Read which ack ids Pub/Sub refused, and why (google.rpc.ErrorInfo).

    It applied the request to all others.
    """
    if not isinstance(error, google_errors.InvalidArgument):
        return {}
    return {
        ack_id: reason
        for detail in error.details
        if isinstance(detail, ErrorInfo)
        for ack_id, reason in detail.metadata.items()
        if reason.startswith(("PERMANENT_FAILURE", "TRANSIENT_FAILURE"))
    }
