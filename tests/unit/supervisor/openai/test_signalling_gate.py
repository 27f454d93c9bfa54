"""No REST request goes round the call's permission. OpenAI is the stand-in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import chain, repeat

import pytest

from emulator.openai import Call, Options, serve
from function.notice import CallNotice
from sideband._rig import entries
from supervisor.errors import ControlError
from supervisor.openai import signalling as under_test
from supervisor.openai.rest import RestClient
from supervisor.openai.signalling import Signalling
from supervisor.outcomes import PassOn

KEY = "sk-1"
SESSION = {"type": "realtime", "model": "gpt-realtime-2.1"}


async def accept(signalling: Signalling, call_id: str) -> object:
    return await signalling.accept(call_id, SESSION)


async def reject(signalling: Signalling, call_id: str) -> object:
    return await signalling.reject(call_id, 486, maybe_accepted=False)


async def refer(signalling: Signalling, call_id: str) -> object:
    await signalling.refer(call_id, "tel:+31201234567")
    return True


async def hang_up(signalling: Signalling, call_id: str) -> object:
    return await signalling.hang_up(CallNotice(call_id=call_id, client_secret="ek_1"))


Operation = Callable[[Signalling, str], Awaitable[object]]


async def attempt(operation: Operation, permits: Iterator[bool], *, accepted: bool = False) -> tuple[object, Call]:
    """Try an operation that is permitted as given, once for each request; returns what came of it, and the call."""
    async with serve(options=Options(api_keys=[KEY])) as stand_in:
        rest = RestClient(api_key=KEY, base_url=stand_in.base_url, user_agent="test")
        websocket_base_url = stand_in.base_url.replace("http", "ws", 1)
        call = await stand_in.place_call(webhook=False)
        try:
            if accepted:
                await rest.accept(call.call_id, SESSION)
            signalling = Signalling(rest, websocket_base_url, KEY, "test", lambda: next(permits))
            try:
                return await operation(signalling, call.call_id), call
            except ControlError as error:
                return error, call
        finally:
            await rest.close()


@pytest.mark.parametrize(
    ("operation", "expected"),
    [(accept, PassOn), (reject, PassOn), (refer, ControlError), (hang_up, bool)],
    ids=["accept", "reject", "refer", "hang up"],
)
async def test_nothing_without_permission(
    operation: Operation, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenAI hears nothing of a call that may be another's, and nobody believes that it was done."""
    for limit in ("ACCEPT", "REFER", "CONTROL"):
        monkeypatch.setattr(under_test, f"{limit}_SECONDS", 0.2)
    result, call = await attempt(operation, repeat(False))
    assert isinstance(result, expected)
    assert result is not True
    assert entries(call, "rest") == []


@pytest.mark.parametrize(
    ("operation", "request_name", "accepted"),
    [(accept, "accept", False), (reject, "reject", False), (refer, "refer", True), (hang_up, "hangup", True)],
    ids=["accept", "reject", "refer", "hang up"],
)
async def test_a_lapse_delays_it(operation: Operation, request_name: str, accepted: bool) -> None:
    """A renewal that succeeds after all lets the request through, once."""
    _result, call = await attempt(operation, chain([False, False], repeat(True)), accepted=accepted)
    assert [entry.payload["status"] for entry in entries(call, "rest", request_name)] == [200]
