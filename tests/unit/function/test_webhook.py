"""From a signed delivery to the notice that is published."""

from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function.errors import RequestError
from function.notice import CallNotice
from function.webhook import (
    MAX_SIP_HEADER_LENGTH,
    MAX_SIP_HEADERS,
    CallIncoming,
    Event,
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
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_example_of_openais_guide() -> None:
    """The example in OpenAI's guide becomes a notice."""
    headers = signed(EXAMPLE)
    verify(headers, EXAMPLE, secrets=[SECRET], now=NOW)
    event = read_event(EXAMPLE)
    assert isinstance(event, CallIncoming)
    assert call_notice(event, headers, received_at=NOW + 0.5) == CallNotice(
        call_id="some_unique_id",
        webhook_id="wh_1",
        event_id="evt_685343a1381c819085d44c354e1b330e",
        created_at=1750287018,
        received_at=NOW + 0.5,
        sip_headers=[
            ("From", "sip:+142555512112@sip.example.com"),
            ("To", "sip:+18005551212@sip.example.com"),
            ("Call-ID", "03782086-4ce9-44bf-8b0d-4e303d2cc590"),
        ],
    )


def test_either_secret_in_a_rotation() -> None:
    """During a rotation, either secret may have signed."""
    body = incoming()
    by_old = signed(body)
    by_new = signed(body, webhook_signature="v1," + signature(body, secret=OTHER_SECRET))
    verify(by_old, body, secrets=[SECRET, OTHER_SECRET], now=NOW)
    verify(by_new, body, secrets=[SECRET, OTHER_SECRET], now=NOW)
    with pytest.raises(RequestError):
        verify(by_new, body, secrets=[SECRET], now=NOW)


ODD_TIMESTAMPS = ["0", "noon", "1e9", "nan", "inf", "1750287078.0", "1750287078,1750287078", "9" * 13, "9" * 100_000]
# Python's int() takes these for NOW.
INTEGERS_TO_PYTHON = ["+1750287078", " 1750287078", "01750287078", "1_750_287_078", "١٧٥٠٢٨٧٠٧٨"]


@pytest.mark.parametrize("timestamp", ODD_TIMESTAMPS + INTEGERS_TO_PYTHON, ids=lambda text: text[:20])
def test_a_timestamp_is_plain_digits(timestamp: str) -> None:
    """Only plain digits are a timestamp, even when it is signed."""
    body = incoming()
    with pytest.raises(RequestError, match="webhook-timestamp header is malformed") as refused:
        verify(signed(body, webhook_timestamp=timestamp), body, secrets=[SECRET], now=NOW)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "webhook_id", ["wh_1,wh_1", "wh 1", "wh_\xe9", "w" * 257, "wh_\x7f"], ids=lambda text: text[:10]
)
def test_an_odd_webhook_id(webhook_id: str) -> None:
    """An id that is doubled or can't be printed is refused, even when it is signed."""
    body = incoming()
    by_us = "v1," + signature(body, webhook_id=webhook_id)
    with pytest.raises(RequestError, match="webhook-id") as refused:
        verify(signed(body, webhook_id=webhook_id, webhook_signature=by_us), body, secrets=[SECRET], now=NOW)
    assert refused.value.status == 400


@settings(deadline=None)
@given(
    headers=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.text(max_size=80) | st.sampled_from(["wh_1", str(NOW), f"v1,{signature(EXAMPLE)}"]),
    ),
    body=st.binary(max_size=80),
)
def test_only_signed_deliveries_pass(headers: dict[str, str], body: bytes) -> None:
    """Whatever the head and body, only a signed delivery passes, and anything else is refused."""
    with pytest.raises(RequestError):
        verify(headers, body, secrets=[SECRET], now=NOW)


@settings(deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps)
)
def test_a_body_that_is_no_event(body: bytes | str) -> None:
    """A body that is no event is refused with 400, in one line."""
    raw = body if isinstance(body, bytes) else body.encode()
    with pytest.raises(RequestError) as refused:
        read_event(raw)
    assert refused.value.status == 400
    assert "\n" not in str(refused.value)


BAD_EVENTS = {
    "empty": b"",
    "not JSON": b"call me",
    "cut off": incoming()[:-1],
    "two documents": incoming() + incoming(),
    "a list": b"[" + incoming() + b"]",
    "null": b"null",
    "no type": b'{"data":{}}',
    "type not a string": b'{"type":["realtime.call.incoming"]}',
    "NaN": b'{"type":"batch.completed","data":NaN}',
    "a number of 100,000 digits": b'{"type":"batch.completed","data":' + b"9" * 100_000 + b"}",
    "100,000 lists in one another": b'{"type":"batch.completed","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "half a surrogate pair": b'{"type":"batch.completed","id":"\\ud800"}',
    "a name twice": b'{"type":"realtime.call.incoming","data":{"call_id":"rtc_1","call_id":"rtc_2"}}',
    "300 objects in one another": b'{"type":"batch.completed","data":' + b'{"a":' * 300 + b"1" + b"}" * 301,
    "no data": b'{"type":"realtime.call.incoming"}',
    "data null": b'{"type":"realtime.call.incoming","data":null}',
    "no call_id": b'{"type":"realtime.call.incoming","data":{}}',
    "call_id empty": incoming(call_id=""),
    "call_id too long": incoming(call_id="r" * 257),
    "call_id a number": incoming(call_id=1),
    "sip_headers a mapping": incoming(sip_headers={"From": "sip:a@example.com"}),
    "a SIP header without a value": incoming(sip_headers=[{"name": "From"}]),
    "a SIP header's value a number": incoming(sip_headers=[{"name": "X-Id", "value": 5}]),
    "created_at of 400 digits": incoming().replace(str(NOW).encode(), b"9" * 400),
    "created_at a string": incoming().replace(str(NOW).encode(), b'"now"'),
    "created_at negative": incoming().replace(str(NOW).encode(), b"-1"),
    "created_at true": incoming().replace(str(NOW).encode(), b"true"),
}


@pytest.mark.parametrize("case", BAD_EVENTS)
def test_a_bad_event_is_refused(case: str) -> None:
    """An event that makes no sense is refused with 400, in one line."""
    with pytest.raises(RequestError) as refused:
        read_event(BAD_EVENTS[case])
    assert refused.value.status == 400
    assert "\n" not in str(refused.value)


def test_a_refusal_repeats_nothing() -> None:
    """A refusal names the field, and repeats nothing of what was sent."""
    with pytest.raises(RequestError) as refused:
        read_event(incoming(sip_headers=[{"name": ["+31201234567"], "value": "sip:+31201234567@example.com"}]))
    assert str(refused.value) == "data.sip_headers.0.name: Input should be a valid string"


def test_unknown_and_null_fields() -> None:
    """Unknown fields are ignored, and optional ones may be null."""
    event = read_event(
        b'{"type":"realtime.call.incoming","new":1,"id":null,"created_at":null,'
        b'"data":{"call_id":"rtc_1","new":{"a":[]},"sip_headers":null,"sip_media_security":null}}'
    )
    assert isinstance(event, CallIncoming)
    assert call_notice(event, {}, received_at=NOW) == CallNotice(call_id="rtc_1", received_at=NOW)


@pytest.mark.parametrize(
    "body", [b'{"type":"batch.completed"}', b'{"type":"live.transport.incoming","id":5,"created_at":"?","data":[]}']
)
def test_an_event_of_another_type(body: bytes) -> None:
    """An event of another type is accepted, whatever else it holds."""
    assert type(read_event(body)) is Event


def of_headers(*sip_headers: tuple[str, str]) -> list[tuple[str, str]]:
    body = incoming(sip_headers=[{"name": name, "value": value} for name, value in sip_headers])
    event = read_event(body)
    assert isinstance(event, CallIncoming)
    notice = call_notice(event, signed(body), received_at=NOW)
    return CallNotice.parse(notice.data()).sip_headers


def test_control_characters_in_sip_headers() -> None:
    """Line breaks and NUL in a SIP header become a space, and the call is taken."""
    hostile = ("X-Name\r\nX-Admin", "a\r\nX-Admin: 1\x00\x1b[2J\u2028b\x85")
    assert of_headers(hostile) == [("X-Name X-Admin", "a X-Admin: 1 [2J b ")]


def test_emoji_in_a_sip_header() -> None:
    """UTF-8 of four bytes in a SIP header is kept."""
    assert of_headers(("X-Name", "\U0001f6b2 \U0001f514")) == [("X-Name", "\U0001f6b2 \U0001f514")]


def test_too_many_sip_headers() -> None:
    """Of ten thousand SIP headers the first are kept, each up to a length, and the call is taken."""
    kept = of_headers(*[("a", str(number)) for number in range(10_000)])
    assert kept == [("a", str(number)) for number in range(MAX_SIP_HEADERS)]
    assert len(of_headers(("a", "b" * 100_000))[0][1]) == MAX_SIP_HEADER_LENGTH


NO_IDS = ["../rtc_1", "..", ".", "rtc_1/accept", "rtc_1?model=x", "rtc 1", "rtc_1#", "rtc%2f1", "rtc_1\n", "rtc_\x00"]


@pytest.mark.parametrize("call_id", [*NO_IDS, "rtc_é", "a\\b"])
def test_an_odd_call_id(call_id: str) -> None:
    """A call id that is no id is refused."""
    with pytest.raises(RequestError, match="not the id of a call"):
        read_event(incoming(call_id=call_id))


def test_sip_headers_keep_their_order() -> None:
    """SIP headers keep their order and their repeats."""
    sent = [("Via", "a"), ("From", "b"), ("Via", "a"), ("X-Id", ""), ("via", "c")]
    body = incoming(sip_headers=[{"name": name, "value": value} for name, value in sent])
    event = read_event(body)
    assert isinstance(event, CallIncoming)
    assert call_notice(event, signed(body), received_at=NOW).sip_headers == sent


@pytest.mark.parametrize(
    ("traceparent", "kept"),
    [
        (TRACEPARENT, True),
        ("cc" + TRACEPARENT[2:], True),
        ("ff" + TRACEPARENT[2:], False),
        (TRACEPARENT.upper(), False),
        (TRACEPARENT + "-more", False),
        (TRACEPARENT + "\n", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", False),
        ("", False),
    ],
)
def test_traceparent(traceparent: str, kept: bool) -> None:
    """Only a valid traceparent is passed on."""
    event = read_event(incoming())
    assert isinstance(event, CallIncoming)
    notice = call_notice(event, {"traceparent": traceparent}, received_at=NOW)
    assert notice.traceparent == (traceparent if kept else None)
