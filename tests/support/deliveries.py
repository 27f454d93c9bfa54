"""Webhooks as OpenAI sends them, signed by hand, so that no code under test judges itself."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

SECRET = "whsec_" + base64.b64encode(b"a secret of 32 bytes, or nearly.").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"quite another secret of 32 bytes").decode()

# The example of OpenAI's guide to SIP, as printed there.
EXAMPLE = b"""{
  "object": "event",
  "id": "evt_685343a1381c819085d44c354e1b330e",
  "type": "realtime.call.incoming",
  "created_at": 1750287018,
  "data": {
    "call_id": "some_unique_id",
    "sip_headers": [
      { "name": "From", "value": "sip:+142555512112@sip.example.com" },
      { "name": "To", "value": "sip:+18005551212@sip.example.com" },
      { "name": "Call-ID", "value": "03782086-4ce9-44bf-8b0d-4e303d2cc590"}
    ]
  }
}"""


def signature(body: bytes, *, timestamp: int, secret: str = SECRET, webhook_id: str = "wh_1") -> str:
    """Sign a body; returns base64, without the `v1,` in front."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, "sha256")
    return base64.b64encode(digest).decode()


def signed(body: bytes, *, timestamp: int, secret: str = SECRET, **changed: str) -> dict[str, str]:
    """Return a delivery's headers.

    Args:
        body: what is signed.
        timestamp: when it was signed, in Unix seconds.
        secret: the endpoint's.
        changed: headers that are changed after signing, such as `webhook_id="wh_2"`.
    """
    headers = {
        "content-type": "application/json",
        "user-agent": "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)",
        "webhook-id": "wh_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1," + signature(body, timestamp=timestamp, secret=secret),
    }
    return headers | {name.replace("_", "-"): value for name, value in changed.items()}


def incoming(*, created_at: int, **data: Any) -> bytes:
    """Return the body of a `realtime.call.incoming`, with this `data`."""
    event = {"object": "event", "id": "evt_1", "type": "realtime.call.incoming", "created_at": created_at}
    return json.dumps(event | {"data": {"call_id": "rtc_1"} | data}).encode()


def new_call() -> bytes:
    """Return the body of a `realtime.call.incoming` about a call that nobody knows yet."""
    return incoming(created_at=int(time.time()), call_id=f"rtc_{uuid4().hex}")


def on_the_wire(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Return a request as it is sent over a connection that is kept alive."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"{method} {path} HTTP/1.1\r\nHost: function\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
