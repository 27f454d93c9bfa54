"""Sends a signed webhook for a call that does not exist, and sees that it became a notice.

    OPENAI_WEBHOOK_SECRET=whsec_... python infra/scripts/smoke.py https://.../webhooks/openai

The function answers "published" only after Pub/Sub has confirmed the notice. A supervisor will claim it, find that
OpenAI knows no such call, and settle it as `missed`: so the log shows the whole way, and nobody's phone rings.
"""

from __future__ import annotations

import binascii
import json
import os
import secrets
import sys
import time
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from standardwebhooks import Webhook

TRIES = 10  # a new revision takes its time
PAUSE_SECONDS = 3
ANSWER_SECONDS = 30


def send(url: str, secret: str) -> tuple[str, str]:
    """Send one; returns the call's made-up id and the outcome that the function answered.

    Raises:
        HTTPError: the function refused.
        URLError: nobody answered.
    """
    call_id, now = f"rtc_smoke_{secrets.token_hex(8)}", datetime.now(tz=UTC)
    event = {
        "object": "event",
        "id": f"evt_{call_id}",
        "type": "realtime.call.incoming",
        "created_at": int(now.timestamp()),
        "data": {"call_id": call_id, "sip_headers": []},
    }
    body = json.dumps(event)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": f"wh_{call_id}",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret.split(maxsplit=1)[0]).sign(f"wh_{call_id}", now, body),
    }
    request = Request(url, body.encode(), headers)  # noqa: S310 - the operator's own URL
    with urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - the same
        return call_id, json.load(answer)["outcome"]


def main(url: str, secret: str) -> int:
    """Try until a notice was published; the exit status is 1 if none was."""
    for _ in range(TRIES):
        try:
            call_id, outcome = send(url, secret)
        except binascii.Error:
            print("OPENAI_WEBHOOK_SECRET is not a webhook's secret, whsec_ and base64: copy it whole.")
            return 1
        except HTTPError as error:
            if error.code == HTTPStatus.UNAUTHORIZED:
                print("The function knows another secret than OPENAI_WEBHOOK_SECRET: see its secret's latest version.")
                return 1
            print(f"not yet: {error}")
            time.sleep(PAUSE_SECONDS)
            continue
        except URLError as error:
            print(f"not yet: {error}")
            time.sleep(PAUSE_SECONDS)
            continue
        print(f"{call_id}: {outcome}")
        return 0 if outcome == "published" else 1
    print(f"The webhook at {url} did not take a signed event: see the function's log.")
    return 1


if __name__ == "__main__":
    match sys.argv[1:], os.environ.get("OPENAI_WEBHOOK_SECRET", "").strip():
        case [url], secret if secret and url.startswith(("https://", "http://")):
            sys.exit(main(url, secret))
        case _:
            sys.exit(__doc__)
