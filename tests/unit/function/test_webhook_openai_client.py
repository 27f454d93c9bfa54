"""The edge and OpenAI's own client agree on what a good delivery is, and on what it says."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import openai
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from function.errors import RequestError
from function.notice import CallNotice
from function.webhook import (
    TOLERANCE_SECONDS,
    CallIncoming,
    call_notice,
    read_event,
    verify,
)
from tests.support import deliveries
from tests.support.deliveries import EXAMPLE, OTHER_SECRET, SECRET

NOW = 1_750_287_078
signature = partial(deliveries.signature, timestamp=NOW)
signed = partial(deliveries.signed, timestamp=NOW)
incoming = partial(deliveries.incoming, created_at=NOW)


def ours(headers: dict[str, str], body: bytes) -> bool:
    """Whether the edge takes the signature."""
    try:
        verify(headers, body, secrets=[SECRET], now=NOW)
    except RequestError:
        return False
    return True


@functools.cache
def openai_client() -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test", webhook_secret=SECRET)


def theirs(headers: dict[str, str], body: bytes) -> bool:
    """Whether OpenAI's own client, its clock set to ours, takes the signature."""
    with mock.patch("openai.lib._webhooks.time", SimpleNamespace(time=lambda: NOW)):
        try:
            openai_client().webhooks.verify_signature(body, headers)
        except (ValueError, TypeError):  # among them InvalidWebhookSignatureError and UnicodeDecodeError
            return False
    return True


GOOD = signature(EXAMPLE)
SDK_TABLE = {
    "good": (signed(EXAMPLE), EXAMPLE, True),
    "several signatures, one good": (
        signed(EXAMPLE, webhook_signature=f"v1,{signature(b'')} v1,{GOOD}"),
        EXAMPLE,
        True,
    ),
    "v1a before a good one": (signed(EXAMPLE, webhook_signature=f"v1a,x v1,{GOOD}"), EXAMPLE, True),
    "bare base64": (signed(EXAMPLE, webhook_signature=GOOD), EXAMPLE, True),
    "300 s old": (signed(EXAMPLE, timestamp=NOW - 300), EXAMPLE, True),
    "301 s old": (signed(EXAMPLE, timestamp=NOW - 301), EXAMPLE, False),
    "300 s ahead": (signed(EXAMPLE, timestamp=NOW + 300), EXAMPLE, True),
    "301 s ahead": (signed(EXAMPLE, timestamp=NOW + 301), EXAMPLE, False),
    "timestamp not an integer": (signed(EXAMPLE, webhook_timestamp="noon"), EXAMPLE, False),
    "body changed": (signed(EXAMPLE), EXAMPLE + b" ", False),
    "id changed": (signed(EXAMPLE, webhook_id="wh_2"), EXAMPLE, False),
    "no id": (signed(EXAMPLE, webhook_id=""), EXAMPLE, False),
    "no timestamp": (signed(EXAMPLE, webhook_timestamp=""), EXAMPLE, False),
    "no signature": (signed(EXAMPLE, webhook_signature=""), EXAMPLE, False),
    "non-ASCII signature": (signed(EXAMPLE, webhook_signature="v1,ключ"), EXAMPLE, False),
    "only v1a": (signed(EXAMPLE, webhook_signature=f"v1a,{GOOD}"), EXAMPLE, False),
    "wrong base64": (signed(EXAMPLE, webhook_signature="v1,not*base64"), EXAMPLE, False),
    "base64 with junk in it": (signed(EXAMPLE, webhook_signature=f"v1,{GOOD}!"), EXAMPLE, False),
    "body not UTF-8": (signed(b"\xff"), b"\xff", False),
}


@pytest.mark.parametrize("case", SDK_TABLE)
def test_agrees_on_the_table(case: str) -> None:
    """OpenAI's client and we agree on each of these deliveries."""
    headers, body, good = SDK_TABLE[case]
    assert theirs(headers, body) is good
    assert ours(headers, body) is good


ENTRIES = st.sampled_from(["good", "bare", "other secret", "other body", "v1a", "bit flipped", "cut"]) | st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60
)


def delivery(body: bytes, webhook_id: str, seconds_off: int, entries: list[str]) -> dict[str, str]:
    """The headers of a delivery whose signature header has these entries."""
    timestamp = NOW + seconds_off
    good = signature(body, webhook_id=webhook_id, timestamp=timestamp)
    forms = {
        "good": f"v1,{good}",
        "bare": good,
        "other secret": f"v1,{signature(body, secret=OTHER_SECRET, webhook_id=webhook_id, timestamp=timestamp)}",
        "other body": f"v1,{signature(body + b' ', webhook_id=webhook_id, timestamp=timestamp)}",
        "v1a": f"v1a,{good}",
        "bit flipped": "v1," + ("B" if good[0] == "A" else "A") + good[1:],
        "cut": f"v1,{good[:-1]}",
    }
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(forms.get(entry, entry) for entry in entries),
    }


DELIVERY: dict[str, st.SearchStrategy[Any]] = {
    "webhook_id": st.text("abcdefXYZ0189_.-", min_size=1, max_size=40),
    "seconds_off": st.integers(-320, 320) | st.sampled_from([-301, -300, 300, 301]),
    "entries": st.lists(ENTRIES, min_size=1, max_size=4) | st.just(["good"]),
}


@settings(deadline=None)
@given(body=st.text(max_size=200).map(str.encode) | st.binary(max_size=20), **DELIVERY)
def test_agrees_on_any_signature(body: bytes, webhook_id: str, seconds_off: int, entries: list[str]) -> None:
    """OpenAI's client and we agree on the signature of any body."""
    headers = delivery(body, webhook_id, seconds_off, entries)
    assert ours(headers, body) is theirs(headers, body)


EVENTS = st.builds(
    lambda call_id, data: incoming(call_id=call_id, **data),
    st.from_regex(r"rtc_[A-Za-z0-9]{1,40}", fullmatch=True),
    st.dictionaries(st.sampled_from(["sip_media_security", "new"]), st.text(max_size=20), max_size=2),
)
NO_EVENTS = st.sampled_from([b"", b"call me", b"{", b"\xff\xfe", b'{"type":"realtime.call.incoming"'])


def test_agrees_on_1000_deliveries(record_property: Callable[[str, object], None]) -> None:
    """What we take, OpenAI's `unwrap` takes and reads as the same call; what we refuse, it refuses."""
    count = Counter[str]()

    @seed(20261120)
    @settings(deadline=None, max_examples=1000, database=None)
    @given(body=EVENTS | EVENTS | NO_EVENTS, **DELIVERY)
    def agree(body: bytes, webhook_id: str, seconds_off: int, entries: list[str]) -> None:
        headers = delivery(body, webhook_id, seconds_off, entries)
        our_call = unwrapped_by_us(headers, body)
        assert our_call == unwrapped_by_openai(headers, body)
        count["bad" if our_call is None else "good"] += 1

    agree()
    record_property("figures", f"OpenAI's unwrap agrees on {count.total()} deliveries: {dict(count)}")
    assert count.total() >= 1000
    assert min(count["good"], count["bad"]) > 100


def unwrapped_by_us(headers: dict[str, str], body: bytes) -> str | None:
    """The call's id, or None where we refuse."""
    try:
        verify(headers, body, secrets=[SECRET], now=NOW)
        event = read_event(body)
    except RequestError:
        return None
    assert isinstance(event, CallIncoming)
    return event.data.call_id


def unwrapped_by_openai(headers: dict[str, str], body: bytes) -> str | None:
    """The same by OpenAI's own client, its clock set to ours."""
    with mock.patch("openai.lib._webhooks.time", SimpleNamespace(time=lambda: NOW)):
        try:
            event: Any = openai_client().webhooks.unwrap(body, headers)
        except (ValueError, TypeError):  # InvalidWebhookSignatureError, UnicodeDecodeError, JSONDecodeError
            return None
    return str(event.data.call_id)


PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=60)


@settings(deadline=None)
@given(
    call_id=st.from_regex(r"[A-Za-z0-9_.~:=+-]{3,256}", fullmatch=True),
    sip_headers=st.lists(st.tuples(PRINTABLE, PRINTABLE), max_size=8),
    security=st.none() | st.sampled_from(["rtp", "srtp", "something new"]),
)
def test_reads_the_same_call(call_id: str, sip_headers: list[tuple[str, str]], security: str | None) -> None:
    """OpenAI's client and we read the same call from any delivery."""
    headers_sent = [{"name": name, "value": value} for name, value in sip_headers]
    body = incoming(call_id=call_id, sip_headers=headers_sent, sip_media_security=security)
    headers = signed(body)
    with mock.patch("openai.lib._webhooks.time", SimpleNamespace(time=lambda: NOW)):
        their_event: Any = openai_client().webhooks.unwrap(body, headers)

    event = read_event(body)
    assert isinstance(event, CallIncoming)
    notice = CallNotice.parse(call_notice(event, headers, received_at=NOW).data())
    assert notice.call_id == their_event.data.call_id
    assert notice.event_id == their_event.id
    assert notice.created_at == their_event.created_at
    assert notice.sip_headers == [(header.name, header.value) for header in their_event.data.sip_headers]
    assert notice.sip_media_security == their_event.data.sip_media_security


def test_the_tolerance_is_the_same() -> None:
    """We allow the same difference of clocks as OpenAI's client does."""
    assert TOLERANCE_SECONDS == 300
