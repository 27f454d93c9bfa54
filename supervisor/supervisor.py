"""The supervisor: as many calls in hand as there are slots, from start to hand-over."""

from __future__ import annotations

import asyncio
import os
import socket

import structlog
from google.api_core.exceptions import GoogleAPICallError
from structlog.contextvars import bind_contextvars
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from supervisor.agent import Agent
from supervisor.claims import Claim, Claims, subscriber
from supervisor.control import Control
from supervisor.errors import NoticeError
from supervisor.holder import Holder, House
from supervisor.records import MemoryStore
from supervisor.settings import Settings

log = structlog.get_logger()

FAILED_NOTICE_SECONDS = 10  # before a notice that could not be handled comes again


async def supervise(settings: Settings, agent: Agent, stop: asyncio.Event) -> None:
    """Claim and hold calls until `stop` is set, then give all of them to others.

    `stop` is set by SIGTERM; from then on the process has `settings.handover_seconds` to be gone.
    """
    client = subscriber(settings.pubsub_emulator_host)
    user_agent = f"sideband-supervisor ({socket.gethostname()}-{os.getpid()})"
    api_key = settings.openai_api_key.get_secret_value()
    control = Control(api_key=api_key, base_url=settings.openai_base_url, user_agent=user_agent)
    house = House(
        agent=agent,
        claims=Claims(client, settings.subscription_path, lease_seconds=settings.lease_seconds),
        control=control,
        store=MemoryStore(),
        websocket_base_url=settings.websocket_base_url,
        bearer=api_key,
        user_agent=user_agent,
    )
    try:
        await Supervisor(house, settings.max_calls).run(stop, settings.handover_seconds)
    finally:
        await control.close()
        await client.transport.close()


class Supervisor:
    """The calls in hand."""

    def __init__(self, house: House, max_calls: int) -> None:
        self._house = house
        self._max_calls = max_calls
        self._calls: set[asyncio.Task[None]] = set()
        self._slot_freed = asyncio.Event()

    async def run(self, stop: asyncio.Event, handover_seconds: float) -> None:
        """Claim, hold and renew until `stop` is set, then hand over."""
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._house.claims.renew_forever(), name="renew leases")
            claiming = group.create_task(self._claim(group, stop), name="claim calls")
            log.info("started", max_calls=self._max_calls)
            await stop.wait()
            log.info("stopping", calls=len(self._calls))
            self._slot_freed.set()
            try:
                async with asyncio.timeout(handover_seconds):
                    await self._house.claims.release_all()
                    for call in self._calls:
                        call.cancel()
                    await asyncio.wait([claiming])
            except TimeoutError:
                log.warning("stop_timed_out", reason="what is still claimed goes to others when its lease runs out")
                claiming.cancel()
            renewing.cancel()
        log.info("stopped")

    async def _claim(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Pull as many notices as there are free slots, and never more, until `stop` is set.

        A pull is never cancelled, since Pub/Sub may already have leased a notice to it; what the last one brings is
        given back at once.
        """
        while not stop.is_set():
            free = self._max_calls - len(self._calls)
            if free <= 0:
                self._slot_freed.clear()
                await self._slot_freed.wait()
                continue
            async for attempt in _until_pubsub_answers():
                with attempt:
                    claims = await self._house.claims.pull(free)
            if stop.is_set():
                await self._house.claims.release(claims)
                return
            for claim in claims:
                task = group.create_task(self._hold(claim), name=f"call of message {claim.message_id}")
                self._calls.add(task)
                task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._slot_freed.set()

    async def _hold(self, claim: Claim) -> None:
        """Hold one call; whatever goes wrong with it stays with it."""
        bind_contextvars(message_id=claim.message_id)
        try:
            await Holder(self._house, claim).hold()
        except NoticeError as error:
            log.error("notice_unreadable", error=str(error))
            await self._house.claims.release([claim], after_seconds=FAILED_NOTICE_SECONDS)
        except Exception:  # a bug in one call must not end the others
            log.exception("call_failed", action="the notice will be delivered again")
            await self._house.claims.release([claim], after_seconds=FAILED_NOTICE_SECONDS)


def _until_pubsub_answers() -> AsyncRetrying:
    def warn(state: RetryCallState) -> None:
        log.warning("pull_failed", error=str(state.outcome.exception() if state.outcome else ""))

    return AsyncRetrying(
        retry=retry_if_exception_type(GoogleAPICallError),
        wait=wait_random_exponential(multiplier=0.1, max=5.0),
        before_sleep=warn,
        reraise=True,
    )
