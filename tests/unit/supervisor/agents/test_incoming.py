"""A call that rings: who it is from and for, and the decisions about it."""

from __future__ import annotations

from typing import cast

import pytest

from function.notice import CallNotice
from sideband import Incoming, Reject

HEADERS = [
    ("From", "<sip:+31201234567@trunk.test>"),
    ("To", "<sip:+31207654321@trunk.test>"),
    ("X-Language", "nl"),
    ("x-language", "en"),
]


def test_a_sip_call() -> None:
    """A SIP call has a caller and a dialled number, by its headers."""
    incoming = Incoming(CallNotice(call_id="rtc_1", sip_headers=HEADERS))
    caller, dialled = incoming.caller, incoming.dialled
    assert caller is not None
    assert dialled is not None
    assert (caller.number, dialled.number) == ("+31201234567", "+31207654321")
    assert (incoming.call_id, incoming.transport, incoming.context) == ("rtc_1", "sip", {})


def test_a_browsers_call() -> None:
    """A browser's call has neither, and what one's own backend vouched for."""
    incoming = Incoming(CallNotice(call_id="rtc_1", transport="webrtc", context={"sub": "customer-7"}))
    assert (incoming.caller, incoming.dialled, incoming.transport) == (None, None, "webrtc")
    assert incoming.context == {"sub": "customer-7"}


@pytest.mark.parametrize(("name", "value"), [("X-Language", "nl"), ("x-LANGUAGE", "nl"), ("X-Other", None)])
def test_header(name: str, value: str | None) -> None:
    """The first header of a name counts; upper and lower case are the same."""
    assert Incoming(CallNotice(call_id="rtc_1", sip_headers=HEADERS)).header(name) == value


@pytest.mark.parametrize("code", [300, 486, 603, 699])
def test_a_code_that_refuses(code: int) -> None:
    """Codes from 300 to 699 refuse a call."""
    assert Reject(code).status_code == code


@pytest.mark.parametrize("code", [200, 299, 700, 0, -486, "486", None])
def test_a_code_that_does_not_refuse(code: object) -> None:
    """Any other code is an error that says what to write."""
    with pytest.raises(ValueError, match="a SIP status code from 300 to 699, such as 486"):
        Reject(cast("int", code))
