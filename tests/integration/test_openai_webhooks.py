"""The stand-in's webhook deliveries: signed, tried again, doubled and dropped."""

import json

import pytest

from tests.support.openai_stand_in import SECRET, opened, webhook_receiver


async def test_a_failed_delivery_is_retried() -> None:
    """A failed delivery is tried again, with the same id and a time of its own."""
    async with (
        webhook_receiver(500, 302, 204) as (url, deliveries),
        opened(webhook_url=url, webhook_secrets=[SECRET], webhook_backoff_seconds=0.01) as (stand_in, client),
    ):
        call = await stand_in.place_call()
        seen = [await deliveries.get() for _ in range(3)]
        for body, headers in seen:
            assert client.webhooks.unwrap(body, headers).type == "realtime.call.incoming"
        assert len({headers["webhook-id"] for _, headers in seen}) == 1
        await stand_in.log.wait_for(lambda entry: entry.payload.get("status") == 204)
        assert [entry.payload["attempt"] for entry in call.log if entry.kind == "webhook"] == [1, 2, 3]


async def test_attempts_are_bounded() -> None:
    """An endpoint that is down is tried a bounded number of times."""
    async with opened(
        webhook_url="http://127.0.0.1:9/", webhook_secrets=[SECRET], webhook_attempts=2, webhook_backoff_seconds=0.01
    ) as (stand_in, _):
        await stand_in.place_call()
        last = await stand_in.log.wait_for(lambda entry: entry.payload.get("attempt") == 2)
        assert "127.0.0.1" in last.payload["error"]


async def test_deliveries_go_wrong_on_demand() -> None:
    """Deliveries are doubled, dropped, late and twinned on demand."""
    async with (
        webhook_receiver(200) as (url, deliveries),
        opened(webhook_url=url, webhook_secrets=[SECRET]) as (stand_in, _),
    ):
        stand_in.inject({"fault": "webhook", "effect": "duplicate"})
        stand_in.inject({"fault": "webhook", "effect": "late", "late_seconds": 0})
        dropped = stand_in.inject({"fault": "webhook", "effect": "drop"})
        await stand_in.place_call()
        twice = [await deliveries.get(), await deliveries.get()]
        assert twice[0][1]["webhook-id"] == twice[1][1]["webhook-id"]
        late = await stand_in.place_call()
        assert late.call_id.encode() in (await deliveries.get())[0]
        await stand_in.place_call()
        await stand_in.log.wait_for(lambda entry: entry.type == "webhook drop")
        assert dropped.struck == 1
        stand_in.options.change({"live_twin": True})
        await stand_in.place_call()
        types = {json.loads((await deliveries.get())[0])["type"] for _ in range(2)}
        assert types == {"realtime.call.incoming", "live.transport.incoming"}
        assert deliveries.empty()


async def test_a_webhook_needs_an_address() -> None:
    """A webhook without an address is refused at once."""
    async with opened() as (stand_in, _):
        with pytest.raises(ValueError, match="webhook_url"):
            await stand_in.place_call(webhook=True)
