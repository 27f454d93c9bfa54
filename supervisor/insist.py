"""Asking OpenAI again, for as long as the table of `errors` says that it may help and there is time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from supervisor.errors import AttachError, ControlError, Verdict, Where, verdict

T = TypeVar("T")


async def insist(where: Where, within_seconds: float, request: Callable[[], Awaitable[T]]) -> T:
    """Make a request, and make it again with jittered back-off while its failure says that this may help.

    Raises:
        AttachError, ControlError: it failed for good, or for the last time that there was time for.
    """
    async for attempt in AsyncRetrying(
        retry=retry_if_exception(lambda error: _may_help(where, error)),
        wait=wait_random_exponential(multiplier=0.1, max=2.0),
        stop=stop_after_delay(within_seconds),
        reraise=True,
    ):
        with attempt:
            return await request()
    raise AssertionError("unreachable: the last try raises")


def _may_help(where: Where, error: BaseException) -> bool:
    return isinstance(error, AttachError | ControlError) and verdict(where, error.status) is Verdict.RETRY
