"""What comes of signals to OpenAI: an outcome where that decides about the call. OpenAI is the stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from emulator.openai import Options, StandIn, serve
from function.notice import CallNotice
from supervisor.openai import signalling as under_test
from supervisor.openai.rest import RestClient
from supervisor.openai.sideband import Sideband
from supervisor.openai.signalling import Signalling
from supervisor.outcomes import CallEnded, EndReason, Outcome, PassOn

KEY = "sk-1"
SESSION = {"type": "realtime", "model": "gpt-realtime-2.1"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried twice."""
    for limit in ("ACCEPT", "ATTACH_AFTER_REFUSAL", "REATTACH", "CONTROL"):
        monkeypatch.setattr(under_test, f"{limit}_SECONDS", 0)
    monkeypatch.setattr(under_test, "FIRST_ATTACH_SECONDS", {"sip": 0, "webrtc": 0})


@asynccontextmanager
async def openai(*faults: dict[str, Any]) -> AsyncIterator[tuple[StandIn, Signalling]]:
    """Serve an OpenAI in which these things go wrong."""
    async with serve(options=Options(api_keys=[KEY])) as stand_in:
        for fault in faults:
            stand_in.inject(fault)
        rest = RestClient(api_key=KEY, base_url=stand_in.base_url, user_agent="test")
        websocket_base_url = stand_in.base_url.replace("http", "ws", 1)
        try:
            yield stand_in, Signalling(rest, websocket_base_url, KEY, "test", lambda: True)
        finally:
            await rest.close()


def refused(operation: str, status: int, times: int = 1) -> dict[str, Any]:
    return {"fault": "rest", "operation": operation, "status": status, "times": times}


def kind(result: object) -> object:
    """An outcome without its words."""
    return PassOn if isinstance(result, PassOn) else result


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, True),
        (404, CallEnded(EndReason.MISSED)),
        (400, False),
        (409, False),
        (401, PassOn),
        (503, PassOn),
    ],
    ids=["accepted", "gone", "refused", "decided before", "forbidden", "broken"],
)
async def test_accept(status: int | None, expected: object) -> None:
    """A call that OpenAI does not know is missed; any other refusal leaves it to the attach."""
    async with openai(*([refused("accept", status)] if status else [])) as (stand_in, signalling):
        call = await stand_in.place_call(webhook=False)
        accepted = await signalling.accept(call.call_id, SESSION)
    assert kind(accepted) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, CallEnded(EndReason.NEVER_ATTACHED)),
        (410, CallEnded(EndReason.CALLER_HUNG_UP)),
        (403, PassOn),
        (503, PassOn),
    ],
    ids=["not there", "over", "forbidden", "broken"],
)
@pytest.mark.parametrize("accepted", [True, False])
async def test_attach(status: int, accepted: bool, expected: object) -> None:
    """A 404 may mean "not yet" at first; 410 is the end."""
    async with openai({"fault": "upgrade", "status": status}) as (stand_in, signalling):
        call = await stand_in.place_call(webhook=False)
        notice = CallNotice(call_id=call.call_id)
        assert kind(await signalling.attach(notice, accepted=accepted)) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, CallEnded(EndReason.CALLER_HUNG_UP)), (410, CallEnded(EndReason.CALLER_HUNG_UP)), (503, PassOn)],
    ids=["unknown", "over", "broken"],
)
async def test_reattach(status: int, expected: object) -> None:
    """A call that OpenAI no longer knows is over."""
    async with openai({"fault": "upgrade", "status": status}) as (stand_in, signalling):
        call = await stand_in.place_call(webhook=False)
        assert kind(await signalling.reattach(CallNotice(call_id=call.call_id))) == expected


async def test_attached() -> None:
    """Nothing is in the way."""
    async with openai() as (stand_in, signalling):
        call = await stand_in.place_call(webhook=False)
        assert await signalling.accept(call.call_id, SESSION) is True
        sideband = await signalling.attach(CallNotice(call_id=call.call_id), accepted=True)
        assert isinstance(sideband, Sideband)
        sideband.abort()


@pytest.mark.parametrize(
    ("faults", "maybe_accepted", "expected"),
    [
        ([], False, CallEnded(EndReason.REJECTED)),
        ([refused("reject", 404)], False, CallEnded(EndReason.REJECTED)),
        ([refused("reject", 409)], False, None),
        ([refused("reject", 400)], False, CallEnded(EndReason.REJECTED)),
        ([refused("reject", 400, 2)], False, PassOn),
        ([refused("reject", 400, 2)], True, None),
        ([refused("reject", 503)], True, PassOn),
        ([refused("reject", 401)], False, PassOn),
    ],
    ids=["done", "gone", "decided before", "declined", "not taken", "maybe accepted", "down", "forbidden"],
)
async def test_reject(faults: list[dict[str, Any]], maybe_accepted: bool, expected: Outcome | None) -> None:
    """None means that somebody may be talking; a code that OpenAI does not take is followed by its own."""
    async with openai(*faults) as (stand_in, signalling):
        call = await stand_in.place_call(webhook=False)
        assert kind(await signalling.reject(call.call_id, 486, maybe_accepted=maybe_accepted)) == expected


@pytest.mark.parametrize(("status", "expected"), [(None, True), (404, True), (400, False), (503, False)])
async def test_hang_up(status: int | None, expected: bool) -> None:
    """A call that is gone already counts as ended."""
    async with openai(*([refused("hangup", status)] if status else [])) as (stand_in, signalling):
        call = await stand_in.place_call(webhook=False)
        assert await signalling.accept(call.call_id, SESSION) is True
        assert await signalling.hang_up(CallNotice(call_id=call.call_id)) is expected
