"""Signed webhook deliveries, tried again until they are taken (reference 1)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import orjson
from standardwebhooks import Webhook

from emulator.openai.api.endpoints import sample_event
from emulator.openai.ids import new_id
from emulator.openai.options import WebhookFault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from emulator.openai.api.endpoints import Endpoint
    from emulator.openai.calls.call import Call
    from emulator.openai.stand_in import StandIn

_USER_AGENT = "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"
_LONGEST_BACKOFF_SECONDS = 30.0


class Target(NamedTuple):
    """Where an event is delivered; both are asked anew for each attempt."""

    url: Callable[[], str | None]
    secrets: Callable[[], Sequence[str]]


def targets(stand_in: StandIn, event_type: str) -> list[Target]:
    """Where events of this type go: the endpoint of the options, and those that are managed by API."""
    options = stand_in.options
    fixed = [Target(lambda: options.webhook_url, lambda: options.webhook_secrets)] if options.webhook_url else []
    return fixed + [_managed(endpoint) for endpoint in stand_in.endpoints.listening(event_type)]


def _managed(endpoint: Endpoint) -> Target:
    return Target(lambda: endpoint.wish.url, endpoint.secrets)


async def deliver_test(endpoint: Endpoint, event_type: str, stand_in: StandIn) -> dict[str, Any]:
    """One delivery of a made-up event to one endpoint; what came of it: a `status`, or an `error`."""
    event = sample_event(event_type)
    outcome = await _attempt(stand_in, _managed(endpoint), new_id("wh"), orjson.dumps(event))
    stand_in.log.add("webhook", event_type, {**outcome, "event": event})
    return outcome


def ring_webhooks(stand_in: StandIn, call: Call) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """The deliveries that a ringing SIP call causes, by event type, each to be run on its own."""
    headers = [{"name": name, "value": value} for name, value in call.sip_headers]
    data: dict[str, Any] = {"call_id": call.call_id, "sip_headers": headers}
    if stand_in.options.sip_media_security:
        data["sip_media_security"] = stand_in.options.sip_media_security
    deliveries = [("realtime.call.incoming", data)]
    if stand_in.options.live_twin:
        live_id = call.call_id.replace("rtc_", "live_", 1)
        deliveries.append(("live.transport.incoming", {"session_id": live_id, "type": "sip", "sip_headers": headers}))
    for event_type, event_data in deliveries:
        event: dict[str, Any] = {"object": "event", "id": new_id("evt"), "type": event_type}
        event |= {"created_at": int(call.placed_at), "data": event_data}
        for target in targets(stand_in, event_type):
            yield event_type, _deliver(stand_in, call, target, event)


async def _deliver(stand_in: StandIn, call: Call, target: Target, event: dict[str, Any]) -> None:
    """Deliver one event, as often as options and faults say: every copy has the same id."""
    fault = stand_in.strike(WebhookFault, call.call_id)
    copies = stand_in.options.webhook_copies
    delay_seconds = stand_in.options.webhook_delay_seconds
    if fault:
        call.note("fault", f"webhook {fault.effect}", {"event_id": event["id"]})
        copies = {"drop": 0, "duplicate": copies + 1, "late": copies}[fault.effect]
        delay_seconds += fault.late_seconds if fault.effect == "late" else 0
    await asyncio.sleep(delay_seconds)
    webhook_id = new_id("wh")
    for _ in range(copies):
        await _deliver_copy(stand_in, call, target, webhook_id, event)


async def _deliver_copy(stand_in: StandIn, call: Call, target: Target, webhook_id: str, event: dict[str, Any]) -> None:
    body = orjson.dumps(event)
    for attempt in range(stand_in.options.webhook_attempts):
        if attempt:
            await asyncio.sleep(
                min(_LONGEST_BACKOFF_SECONDS, stand_in.options.webhook_backoff_seconds * 2 ** (attempt - 1))
            )
        outcome = await _attempt(stand_in, target, webhook_id, body)
        call.note(
            "webhook", event["type"], {"webhook_id": webhook_id, "attempt": attempt + 1, **outcome, "event": event}
        )
        if 200 <= outcome.get("status", 0) < 300:  # noqa: PLR2004 - HTTP's own line
            return


async def _attempt(stand_in: StandIn, target: Target, webhook_id: str, body: bytes) -> dict[str, Any]:
    """One POST; what came of it: a `status`, or an `error`."""
    url = target.url()
    if url is None:
        return {"error": "webhook_url was taken away"}
    headers = {
        "content-type": "application/json",
        "user-agent": _USER_AGENT,
        **_signed(target.secrets(), webhook_id, body),
    }
    timeout = aiohttp.ClientTimeout(total=stand_in.options.webhook_timeout_seconds)
    try:
        async with stand_in.http.post(
            url, data=body, headers=headers, timeout=timeout, allow_redirects=False
        ) as answer:
            return {"status": answer.status}
    except TimeoutError:
        return {"error": "no answer in time"}
    except aiohttp.ClientError as error:
        return {"error": str(error) or type(error).__name__}


def _signed(secrets: Sequence[str], webhook_id: str, body: bytes) -> dict[str, str]:
    """The three headers of a delivery attempt, with its own time and one signature for each secret."""
    now = datetime.now(UTC)
    signatures = [Webhook(secret).sign(webhook_id, now, body.decode()) for secret in secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
