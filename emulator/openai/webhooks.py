"""Signed webhook deliveries, tried again until they are taken (openai-realtime.md#webhooks)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import orjson
from standardwebhooks import Webhook

from emulator.openai.endpoints import CALL_INCOMING, LIVE_INCOMING, sample_event
from emulator.openai.faults import WebhookFault
from emulator.openai.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from emulator.openai.calls.call import Call
    from emulator.openai.endpoints import Endpoint, Endpoints
    from emulator.openai.faults import Faults
    from emulator.openai.log import Log
    from emulator.openai.options import Options

_USER_AGENT = "OpenAI/1.0 (+https://platform.openai.com/docs/webhooks)"
_LONGEST_BACKOFF_SECONDS = 30.0


class _Target(NamedTuple):
    """Where an event is delivered, read anew for each attempt."""

    url: Callable[[], str | None]
    secrets: Callable[[], Sequence[str]]


class Webhooks:
    """Delivers events to the options' endpoint and to those managed by API."""

    def __init__(
        self, options: Options, endpoints: Endpoints, faults: Faults, log: Log, http: aiohttp.ClientSession
    ) -> None:
        self._options = options
        self._endpoints = endpoints
        self._faults = faults
        self._log = log
        self._http = http

    def listened_to(self, event_type: str) -> bool:
        """Say whether events of this type go anywhere."""
        return bool(self._targets(event_type))

    def ring(self, call: Call) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield a ringing SIP call's deliveries: event type, and what to run."""
        headers = [{"name": name, "value": value} for name, value in call.sip_headers]
        data: dict[str, Any] = {"call_id": call.call_id, "sip_headers": headers}
        if self._options.sip_media_security:
            data["sip_media_security"] = self._options.sip_media_security
        deliveries = [(CALL_INCOMING, data)]
        if self._options.live_twin:
            live_id = call.call_id.replace("rtc_", "live_", 1)
            deliveries.append((LIVE_INCOMING, {"session_id": live_id, "type": "sip", "sip_headers": headers}))
        for event_type, event_data in deliveries:
            event: dict[str, Any] = {"object": "event", "id": new_id("evt"), "type": event_type}
            event |= {"created_at": int(call.placed_at), "data": event_data}
            for target in self._targets(event_type):
                yield event_type, self._deliver(call, target, event)

    async def deliver_test(self, endpoint: Endpoint, event_type: str) -> dict[str, Any]:
        """Deliver a made-up event once; returns its `status`, or an `error`."""
        event = sample_event(event_type)
        outcome = await self._attempt(_managed(endpoint), new_id("wh"), orjson.dumps(event))
        self._log.add("webhook", event_type, {**outcome, "event": event})
        return outcome

    def _targets(self, event_type: str) -> list[_Target]:
        options = self._options
        fixed = [_Target(lambda: options.webhook_url, lambda: options.webhook_secrets)] if options.webhook_url else []
        return fixed + [_managed(endpoint) for endpoint in self._endpoints.listening(event_type)]

    async def _deliver(self, call: Call, target: _Target, event: dict[str, Any]) -> None:
        """Deliver one event as often as options and faults say, under one id."""
        fault = self._faults.strike(WebhookFault, call.call_id)
        copies = self._options.webhook_copies
        delay_seconds = self._options.webhook_delay_seconds
        if fault:
            call.note("fault", f"webhook {fault.effect}", {"event_id": event["id"]})
            copies = {"drop": 0, "duplicate": copies + 1, "late": copies}[fault.effect]
            delay_seconds += fault.late_seconds if fault.effect == "late" else 0
        await asyncio.sleep(delay_seconds)
        webhook_id = new_id("wh")
        for _ in range(copies):
            await self._deliver_copy(call, target, webhook_id, event)

    async def _deliver_copy(self, call: Call, target: _Target, webhook_id: str, event: dict[str, Any]) -> None:
        body = orjson.dumps(event)
        for attempt in range(self._options.webhook_attempts):
            if attempt:
                await asyncio.sleep(
                    min(_LONGEST_BACKOFF_SECONDS, self._options.webhook_backoff_seconds * 2 ** (attempt - 1))
                )
            outcome = await self._attempt(target, webhook_id, body)
            call.note(
                "webhook", event["type"], {"webhook_id": webhook_id, "attempt": attempt + 1, **outcome, "event": event}
            )
            if 200 <= outcome.get("status", 0) < 300:  # noqa: PLR2004 - where HTTP draws the line
                return

    async def _attempt(self, target: _Target, webhook_id: str, body: bytes) -> dict[str, Any]:
        """Post an event once; returns the answer's `status`, or an `error`."""
        url = target.url()
        if url is None:
            return {"error": "webhook_url was taken away"}
        headers = {
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            **_signed(target.secrets(), webhook_id, body),
        }
        timeout = aiohttp.ClientTimeout(total=self._options.webhook_timeout_seconds)
        try:
            async with self._http.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                return {"status": answer.status}
        except TimeoutError:
            return {"error": "no answer in time"}
        except aiohttp.ClientError as error:
            return {"error": str(error) or type(error).__name__}


def _managed(endpoint: Endpoint) -> _Target:
    return _Target(lambda: endpoint.settings.url, endpoint.secrets)


def _signed(secrets: Sequence[str], webhook_id: str, body: bytes) -> dict[str, str]:
    """Sign a delivery attempt with each secret; returns its three headers."""
    now = datetime.now(UTC)
    signatures = [Webhook(secret).sign(webhook_id, now, body.decode()) for secret in secrets]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
