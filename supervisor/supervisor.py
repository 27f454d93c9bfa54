"""The supervisor: owns as many calls as there are slots.

It does so from its start to the hand-over at its end.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from functools import partial

import structlog
from google.api_core.exceptions import GoogleAPICallError, NotFound, PermissionDenied
from google.auth.exceptions import GoogleAuthError
from structlog.contextvars import bind_contextvars
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from supervisor.agents.router import Router
from supervisor.calls.owner import CallOwner
from supervisor.calls.services import Services
from supervisor.claims import PULL_SECONDS, Claim, Claims, connector
from supervisor.errors import NoticeError, StartupError
from supervisor.openai.rest import RestClient
from supervisor.openai.signalling import Signalling
from supervisor.records.opening import open_store
from supervisor.records.writer import RecordWriter
from supervisor.settings import Settings
from supervisor.telemetry import health
from supervisor.telemetry.metrics import State, observe

log = structlog.get_logger()

TOOLS_SHARE = 0.5  # of the time to hand over, for tools that run
RECORDS_SECONDS = 1.0  # for what the records still lack at the end
FIRST_PULL_SECONDS = 2.0  # short, since `ready` waits for it
UNREACHABLE_SECONDS = 3.0  # of pulls that fail, before this process is not ready
UNHEALTHY_SECONDS = 0.2  # between looks at whether leases are renewed again
FAILED_NOTICE_SECONDS = 1  # before a notice that could not be handled comes again


async def supervise(settings: Settings, router: Router, stop: asyncio.Event) -> None:
    """Claim and own calls until `stop` is set; then hand them over.

    `stop` is set by SIGTERM; from then on the process has `settings.handover_seconds` to be gone.

    Raises:
        StartupError: Pub/Sub or the store can't be used.
    """
    try:
        connect = connector(
            settings.pubsub_emulator_host, settings.pubsub_endpoint, lease_seconds=settings.lease_seconds
        )
    except GoogleAuthError as error:
        raise StartupError(f"Pub/Sub: {' '.join(str(error).split())} Or set PUBSUB_EMULATOR_HOST.") from error
    user_agent = f"sideband-supervisor ({socket.gethostname()}-{os.getpid()})"
    api_key = settings.openai_api_key.get_secret_value()
    rest = RestClient(api_key=api_key, base_url=settings.openai_base_url, user_agent=user_agent)
    services = Services(
        router=router,
        claims=Claims(connect, settings.subscription_path, lease_seconds=settings.lease_seconds),
        signalling=partial(Signalling, rest, settings.websocket_base_url, api_key, user_agent),
        record_writer=RecordWriter(open_store(settings.records, project=settings.google_cloud_project)),
        transfer_targets=tuple(settings.transfer_targets.split()),
    )
    supervisor = Supervisor(services, settings.max_calls)
    observe(supervisor.state)
    try:
        async with health.serving(settings.health_address, supervisor.state):
            await supervisor.run(stop, settings.handover_seconds)
    finally:
        await rest.close()
        await services.claims.close()


class Supervisor:
    """The calls that this process owns."""

    def __init__(self, services: Services, max_calls: int) -> None:
        self._services = services
        self._max_calls = max_calls
        self._owners: dict[CallOwner, asyncio.Task[None]] = {}
        self._unreleased: asyncio.Queue[CallOwner] = asyncio.Queue()
        """Owners that ended, in whatever way, without giving their claim back."""
        self._slot_freed = asyncio.Event()
        self._ready = False

    def state(self) -> State:
        """Tell how the supervisor stands, for those who ask from outside."""
        claims = self._services.claims
        return State(
            calls=len(self._owners),
            max_calls=self._max_calls,
            leases=len(claims),
            ready=self._ready and claims.healthy,
        )

    async def run(self, stop: asyncio.Event, handover_seconds: float) -> None:
        """Claim, own and renew until `stop` is set, then hand over."""
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._services.claims.renew_forever(), name="renew leases"),
                group.create_task(self._services.record_writer.run(), name="write records"),
                group.create_task(self._tick_forever(), name="tick"),
                group.create_task(self._release_forever(), name="release claims that were left"),
            ]
            claiming = group.create_task(self._claim_calls(group, stop), name="claim calls")
            log.info("started", max_calls=self._max_calls)
            await stop.wait()
            await self._stop(claiming, handover_seconds)
            for task in (*background, *self._owners.values()):
                task.cancel()
        await self._services.record_writer.close(RECORDS_SECONDS)
        log.info("stopped")

    async def _stop(self, claiming: asyncio.Task[None], handover_seconds: float) -> None:
        """Let others have every call, and claim no more."""
        self._ready = False
        log.info("stopping", calls=len(self._owners))
        self._slot_freed.set()
        try:
            async with asyncio.timeout(handover_seconds):
                await self._hand_over(handover_seconds * TOOLS_SHARE)
                await asyncio.wait([claiming])
        except TimeoutError:
            log.warning("stop_timed_out", reason="what is still claimed goes to others when its lease runs out")
            claiming.cancel()

    async def _hand_over(self, tools_seconds: float) -> None:
        """Hand over every call, all at once."""
        async with asyncio.TaskGroup() as group:
            for owner in self._owners:
                group.create_task(owner.hand_over(tools_seconds), name="hand over", context=owner.contextvars)

    async def _tick_forever(self) -> None:
        """Have every call do what is due by the clock, once a second."""
        while True:
            await asyncio.sleep(1)
            now = time.time()
            for owner in self._owners:
                owner.contextvars.run(_tick, owner, now)

    async def _release_forever(self) -> None:
        """Release the claims that their owners left.

        Else such a claim would be renewed for ever, and its call be nobody's.
        """
        while True:
            owner = await self._unreleased.get()
            owner.contextvars.run(log.error, "claim_left", action="the notice will be delivered again")
            await self._services.claims.release([owner.claim], after_seconds=FAILED_NOTICE_SECONDS)

    async def _claim_calls(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Claim as many calls as there are free slots, until `stop` is set.

        A pull is never cancelled, since Pub/Sub may already have leased a notice to it; what the last one brings is
        given back at once. Nor is anything pulled while leases are not renewed: the calls in hand come first.
        """
        while not stop.is_set():
            if not self._services.claims.healthy:
                await asyncio.sleep(UNHEALTHY_SECONDS)
                continue
            free = self._max_calls - len(self._owners)
            if free <= 0:
                self._slot_freed.clear()
                await self._slot_freed.wait()
                continue
            claims = await self._pull(free)
            if stop.is_set():
                await self._services.claims.release(claims)
                return
            self._ready = True
            for claim in claims:
                owner = CallOwner(self._services, claim)
                self._owners[owner] = group.create_task(
                    self._own(owner), name=f"message {claim.message_id}", context=owner.contextvars
                )

    async def _pull(self, max_messages: int) -> list[Claim]:
        """Pull notices, again and again until Pub/Sub answers."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(GoogleAPICallError),
            wait=wait_random_exponential(multiplier=0.1, max=5.0),
            before_sleep=self._on_pull_failed,
            reraise=True,
        ):
            with attempt:
                within_seconds = PULL_SECONDS if self._ready else FIRST_PULL_SECONDS
                return await self._services.claims.pull(max_messages, within_seconds=within_seconds)
        raise AssertionError("unreachable: it tries for ever")

    async def _own(self, owner: CallOwner) -> None:
        """Own one call; whatever goes wrong with it stays with it."""
        claim = owner.claim
        bind_contextvars(message_id=claim.message_id)
        try:
            await owner.run()
        except NoticeError as error:
            log.error("notice_unreadable", error=str(error), action="after 50 attempts it is a dead letter")
            await self._services.claims.release([claim], after_seconds=FAILED_NOTICE_SECONDS)
        except Exception:  # a bug in one call must not end the others
            log.exception("call_failed", action="the notice will be delivered again")
            await self._services.claims.release([claim], after_seconds=FAILED_NOTICE_SECONDS)
        finally:
            if not claim.lost:
                self._unreleased.put_nowait(owner)
            del self._owners[owner]
            self._slot_freed.set()

    def _on_pull_failed(self, state: RetryCallState) -> None:
        """Log why a pull failed.

        Where somebody has to act, the log says what to do, and this process is not ready meanwhile. Nor is it when
        Pub/Sub has been out of reach for longer than it takes to connect again.
        """
        error = state.outcome.exception() if state.outcome else None
        subscription = self._services.claims.subscription
        match error:
            case PermissionDenied():
                action = f"give this process's service account roles/pubsub.subscriber on {subscription}"
            case NotFound():
                action = f"make {subscription}, or name another in CALLS_SUBSCRIPTION"
            case _:
                log.warning("pull_failed", error=str(error))
                self._ready = self._ready and (state.seconds_since_start or 0.0) < UNREACHABLE_SECONDS
                return
        self._ready = False
        log.error("pull_failed", error=str(error), action=action)


def _tick(owner: CallOwner, now: float) -> None:
    try:
        owner.tick(now)
    except Exception:  # a bug in one call must not end the others
        log.exception("tick_failed")
