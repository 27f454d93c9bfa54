"""Retrying requests: as long as it may help, and there is time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from supervisor.errors import AttachError, ControlError
from supervisor.openai import retry as under_test
from supervisor.openai.failures import Where
from supervisor.openai.retry import with_retry


def refused(status: int | None) -> ControlError:
    return ControlError("accept", "rtc_1", status, None, "no")


def not_attached(status: int | None) -> AttachError:
    return AttachError("rtc_1", status, "no")


class Request:
    """Fails with each of these in turn, and then succeeds; counts how often it is made."""

    def __init__(self, *failures: Exception) -> None:
        self.failures: Sequence[Exception] = failures
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.made <= len(self.failures):
            raise self.failures[self.made - 1]
        return "done"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "FIRST_PAUSE_SECONDS", 0)
    monkeypatch.setattr(under_test, "_PATIENT", lambda _state: 0)
    monkeypatch.setattr(under_test, "_EAGER", lambda _state: 0)


async def test_most_succeed_at_once() -> None:
    """A request that succeeds is made once."""
    request = Request()
    assert (await with_retry("accept", 60, request), request.made) == ("done", 1)


@pytest.mark.parametrize(
    ("where", "failure"),
    [("accept", refused(503)), ("accept", refused(None)), ("attach", not_attached(404)), ("hangup", refused(429))],
    ids=["broken", "no answer", "not attachable yet", "too many requests"],
)
async def test_what_may_pass_is_retried(where: Where, failure: Exception) -> None:
    """A failure that may pass is followed by another try, until one succeeds."""
    request = Request(*[failure] * 4)
    assert (await with_retry(where, 60, request), request.made) == ("done", 5)


@pytest.mark.parametrize(
    ("where", "failure"),
    [("accept", refused(404)), ("hangup", refused(400)), ("reattach", not_attached(404)), ("attach", OSError())],
    ids=["over", "given up", "gone", "none of OpenAI's"],
)
async def test_what_will_not_pass_is_raised(where: Where, failure: Exception) -> None:
    """A failure that will not pass is raised at once, also after others that may."""
    request = Request(failure)
    with pytest.raises(type(failure)):
        await with_retry(where, 60, request)
    later = Request(refused(503) if where != "attach" else not_attached(503), failure)
    with pytest.raises(type(failure)):
        await with_retry(where, 60, later)
    assert (request.made, later.made) == (1, 2)


async def test_without_time_there_is_one_try() -> None:
    """A request is made once even when there is no time, and its failure is raised as it is."""
    request = Request(refused(503))
    with pytest.raises(ControlError) as raised:
        await with_retry("accept", 0, request)
    assert (raised.value.status, request.made) == (503, 1)


async def test_the_last_failure_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """When time is up, the last failure is raised, and not one of the library's."""
    monkeypatch.setattr(under_test, "_PATIENT", lambda _state: 0.01)
    request = Request(*(refused(503) for _ in range(1000)))
    with pytest.raises(ControlError) as raised:
        await with_retry("accept", 0.1, request)
    assert raised.value is request.failures[request.made - 1]
