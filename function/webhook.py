"""From a signed webhook to the `CallNotice` that is published.

`verify` checks that a delivery is OpenAI's, `read_event` reads it, and `call_notice` makes of it what supervisors need.
Whatever is wrong with a delivery is a `RequestError`. Headers come as a mapping with lower-case names. No I/O, and no
clock but the one passed in.
"""

from __future__ import annotations

import hmac
import json
import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import from_json
from standardwebhooks import Webhook

from function.errors import RequestError
from function.notice import CALL_ID, CallNotice

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CALL_INCOMING = "realtime.call.incoming"
LIVE_TWINS = frozenset({"live.transport.incoming", "live.call.incoming"})
TOLERANCE_SECONDS = 300
MAX_SIP_HEADERS = 200
MAX_SIP_HEADER_LENGTH = 4096
LATEST_CREATED_AT = 2**40  # a bound that keeps the arithmetic on it in range

# Visible ASCII without the comma, which would mean two headers of one name, joined by the server.
_WEBHOOK_ID = re.compile(r"[!-+\--~]{1,256}")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}")
# SHA-256 in canonical base64. OpenAI's client allows it bare, too; entries of other versions (`v1a`) are passed over.
_SIGNATURE = re.compile(r"(?:v1,)?([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Event(BaseModel):
    """Any event of OpenAI's; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)

    type: str


class SipHeader(BaseModel):
    """One header of the INVITE."""

    name: str
    value: str


class IncomingCall(BaseModel):
    """The `data` of `realtime.call.incoming`."""

    call_id: str
    sip_headers: list[SipHeader] | None = None
    sip_media_security: str | None = None

    @field_validator("call_id")
    @classmethod
    def _call_id(cls, value: str) -> str:
        if not CALL_ID.fullmatch(value):
            raise ValueError("not the id of a call")
        return value


class CallIncoming(Event):
    """`realtime.call.incoming`: a SIP call rings."""

    id: str | None = None
    created_at: int | None = Field(default=None, ge=0, le=LATEST_CREATED_AT)
    data: IncomingCall


def verify(headers: Mapping[str, str], body: bytes, *, secrets: Iterable[str], now: float) -> None:
    """Check that one of the secrets signed this delivery, just now.

    The timestamp is the delivery attempt's, so a retry after hours passes too (Standard Webhooks; OpenAI's guide).

    Args:
        headers: `webhook-id`, `webhook-timestamp` and `webhook-signature` are read.
        body: The raw body, unparsed.
        secrets: `whsec_` and base64.
        now: Unix seconds.

    Raises:
        RequestError: 400 when something is missing or malformed, 401 when the signature or its time is wrong.
    """
    webhook_id = _header(headers, "webhook-id", _WEBHOOK_ID)
    timestamp = int(_header(headers, "webhook-timestamp", _TIMESTAMP))
    entries = _header(headers, "webhook-signature").split()
    if abs(int(now) - timestamp) > TOLERANCE_SECONDS:
        raise RequestError(
            HTTPStatus.UNAUTHORIZED, "invalid_timestamp", f"webhook-timestamp is over {TOLERANCE_SECONDS} s off"
        )
    # The library signs; its verify() reads the clock by itself and stumbles over entries that the standard allows.
    signed_at = datetime.fromtimestamp(timestamp, tz=UTC)
    text = _text(body)
    expected = [Webhook(secret).sign(webhook_id, signed_at, text) for secret in secrets]
    given = [f"v1,{match[1]}" for entry in entries if (match := _SIGNATURE.fullmatch(entry))]
    if not any(hmac.compare_digest(signature, ours) for signature in given for ours in expected):
        raise RequestError(
            HTTPStatus.UNAUTHORIZED, "invalid_signature", "no entry of webhook-signature matches the body"
        )


def read_event(body: bytes) -> Event:
    """Read a verified body: a `CallIncoming`, or any other `Event`.

    Raises:
        RequestError: the body is not JSON, or not an event's.
    """
    try:
        document = from_json(body, allow_inf_nan=False)  # refuses documents that are nested over 200 deep
        json.loads(body, object_pairs_hook=_refuse_repeated_names)
    except ValueError as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, "invalid_json", f"the body is not JSON: {error}") from None
    try:
        event = Event.model_validate(document)
        return CallIncoming.model_validate(document) if event.type == CALL_INCOMING else event
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(map(str, found["loc"])) or "the body"
        raise RequestError(HTTPStatus.BAD_REQUEST, "invalid_event", f"{place}: {found['msg']}") from None


def call_notice(event: CallIncoming, headers: Mapping[str, str], *, received_at: float) -> CallNotice:
    """Turn a call's event into its notice."""
    return CallNotice(
        call_id=event.data.call_id,
        webhook_id=headers.get("webhook-id"),
        event_id=event.id,
        created_at=event.created_at,
        received_at=received_at,
        sip_headers=[
            (_printable(header.name), _printable(header.value))
            for header in (event.data.sip_headers or [])[:MAX_SIP_HEADERS]
        ],
        sip_media_security=event.data.sip_media_security,
        traceparent=valid_traceparent(headers),
    )


def valid_traceparent(headers: Mapping[str, str]) -> str | None:
    """Return the request's W3C trace context, if it is well-formed."""
    traceparent = headers.get("traceparent", "")
    return traceparent if _TRACEPARENT.fullmatch(traceparent) else None


def _printable(text: str) -> str:
    """Replace control characters, and bound the length: a caller chooses these texts.

    No line break gets from here into a log or a header.
    """
    return _CONTROLS.sub(" ", text)[:MAX_SIP_HEADER_LENGTH]


def _refuse_repeated_names(pairs: list[tuple[str, object]]) -> None:
    """Refuse a repeated name: two readers could see two different calls."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands twice in one object")


def _header(headers: Mapping[str, str], name: str, shape: re.Pattern[str] | None = None) -> str:
    value = headers.get(name, "")
    if not value:
        raise RequestError(HTTPStatus.BAD_REQUEST, "missing_header", f"the {name} header is missing")
    if shape and not shape.fullmatch(value):
        raise RequestError(HTTPStatus.BAD_REQUEST, "invalid_header", f"the {name} header is malformed")
    return value


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise RequestError(HTTPStatus.BAD_REQUEST, "invalid_body", "the body is not UTF-8") from None
