"""Retry requests to OpenAI.

That goes on while the table of `failures` says that it may help, and there is time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_delay, wait_random_exponential

from supervisor.errors import AttachError, ControlError
from supervisor.openai.failures import Verdict, Where, verdict

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.1
NOT_YET = {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}  # not there yet, or the last owner is still attached


async def with_retry(where: Where, within_seconds: float, request: Callable[[], Awaitable[T]]) -> T:
    """Make a request, and retry it while its failure may pass.

    Raises:
        AttachError, ControlError: it failed for good, or for the last time that there was time for.
    """
    started = time.monotonic()
    try:
        return await request()  # most succeed at once; what tenacity needs for one would stay for as long as its call
    except (AttachError, ControlError) as error:
        seconds_left = within_seconds - (time.monotonic() - started)
        if seconds_left <= 0 or not _may_help(where, error):
            raise
    await asyncio.sleep(random.uniform(0, FIRST_PAUSE_SECONDS))  # noqa: S311 - jitter, not a secret
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(lambda error: _may_help(where, error)),
        wait=_pause_seconds,
        stop=stop_after_delay(seconds_left),
        reraise=True,
    ):
        with attempt:
            return await request()
    raise AssertionError("unreachable: the last try raises")


_PATIENT = wait_random_exponential(multiplier=0.1, max=2.0)
_EAGER = wait_random_exponential(multiplier=0.1, max=0.4)


def _pause_seconds(state: RetryCallState) -> float:
    """Draw a jittered pause before the next try.

    Long for a service in trouble; short where a 4xx means "not yet", since a caller waits.
    """
    error = state.outcome.exception() if state.outcome else None
    not_yet = isinstance(error, AttachError) and error.status in NOT_YET
    return _EAGER(state) if not_yet else _PATIENT(state)


def _may_help(where: Where, error: BaseException) -> bool:
    return isinstance(error, AttachError | ControlError) and verdict(where, error.status) is Verdict.RETRY
