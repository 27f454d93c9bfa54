"""The stand-in for OpenAI over real sockets, driven by the official client, which is not modified in any way."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from emulator.openai import Call, Options, StandIn, serve
from tests.support.openai_types import check_client_event, check_server_event

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
OLD_SECRET = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="
OFFER = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
SESSION: Any = {"type": "realtime", "model": "gpt-realtime-2.1"}


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[StandIn, AsyncOpenAI]]:
    """A stand-in and a client of it; afterwards, everything that was sent is held against OpenAI's types."""
    async with serve(options=Options(**options)) as stand_in:
        async with client_of(stand_in) as client:
            yield stand_in, client
        for entry in stand_in.log:
            if entry.kind in ("frame_out", "frame_lost"):
                check_server_event(entry.payload)


def client_of(stand_in: StandIn, api_key: str = "sk-test") -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key=api_key,
        webhook_secret=SECRET,
        base_url=stand_in.base_url,
        websocket_base_url=stand_in.websocket_base_url,
        max_retries=0,
    )


async def accepted_call(stand_in: StandIn, *script: dict[str, Any]) -> Call:
    call = await stand_in.place_call(script)
    call.accept(SESSION)
    return call


def attach(stand_in: StandIn, call: Call, *, key: str = "sk-test", who: str = "test/1") -> connect:
    return connect(
        f"{stand_in.websocket_base_url}/realtime?call_id={call.call_id}",
        additional_headers={"Authorization": f"Bearer {key}"},
        user_agent_header=who,
        max_queue=None,  # so that closing need not wait for what was not read
    )


async def refused_with(stand_in: StandIn, call: Call, **more: Any) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await attach(stand_in, call, **more)
    return refused.value.response.status_code


async def next_event(socket: ClientConnection, wanted: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            event: dict[str, Any] = json.loads(await socket.recv())
            if event["type"] == wanted:
                return event


async def say(socket: ClientConnection, **event: Any) -> None:
    check_client_event(event)
    await socket.send(json.dumps(event))


def kinds(call: Call, *wanted: str) -> list[str]:
    return [entry.type for entry in call.log if entry.kind in wanted]


@asynccontextmanager
async def webhook_receiver(*statuses: int) -> AsyncIterator[tuple[str, "asyncio.Queue[tuple[bytes, dict[str, str]]]"]]:
    """An endpoint that answers deliveries with these statuses in turn, the last one for ever."""
    deliveries: asyncio.Queue[tuple[bytes, dict[str, str]]] = asyncio.Queue()
    answers = list(statuses)

    async def receive(request: web.Request) -> web.Response:
        deliveries.put_nowait((await request.read(), dict(request.headers)))
        return web.Response(status=answers.pop(0) if len(answers) > 1 else answers[0])

    app = web.Application()
    app.router.add_post("/webhooks/openai", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/openai", deliveries
    finally:
        await runner.cleanup()


# The official client


async def serve_call(client: AsyncOpenAI, call_id: str) -> list[str]:
    """A whole supervisor in a few lines, until the socket is lost; the answer is what the model said."""
    spoken: list[str] = []
    async with client.realtime.connect(call_id=call_id) as connection:
        await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        with suppress(ConnectionClosedError):
            async for event in connection:
                if event.type == "session.updated":
                    await connection.response.create()
                elif event.type == "response.output_audio_transcript.done":
                    spoken.append(event.transcript)
                elif event.type == "response.output_item.done" and event.item.type == "function_call":
                    assert (event.item.name, event.item.arguments) == ("order_status", '{"order_id":"B-1042"}')
                    output: Any = {"type": "function_call_output", "call_id": event.item.call_id, "output": "sent"}
                    await connection.conversation.item.create(item=output)
                elif (
                    event.type == "response.done"
                    and event.response.output
                    and event.response.output[0].type == "function_call"
                ):
                    await connection.response.create()
    return spoken


async def test_the_official_client_hears_of_a_call_takes_it_and_runs_a_tool_turn() -> None:
    async with (
        webhook_receiver(200) as (url, deliveries),
        opened(webhook_url=url, webhook_secrets=[OLD_SECRET, SECRET]) as (stand_in, client),
    ):
        call = await stand_in.place_call(
            [
                {"wait_for": "greeting"},
                {"caller": "Where is order B-1042?"},
                {"tool": "order_status", "arguments": {"order_id": "B-1042"}},
                {"hang_up": True},
            ],
            from_number="+31611111111",
            headers=[("X-Id", "1"), ("X-Id", "2")],
        )
        body, headers = await deliveries.get()
        event = client.webhooks.unwrap(body, headers)
        assert event.type == "realtime.call.incoming"
        assert event.data.call_id == call.call_id
        assert [header.name for header in event.data.sip_headers] == ["From", "To", "Call-ID", "X-Id", "X-Id"]
        assert event.data.sip_headers[0].value == "sip:+31611111111@sip.example.com"
        await client.realtime.calls.accept(call.call_id, **SESSION)
        spoken = await serve_call(client, call.call_id)
        assert spoken == ["Hello, how can I help you?", "Here is what I found: sent"]
        assert await call.ended() == "caller_hung_up"


async def test_the_official_client_rejects_refers_and_hangs_up() -> None:
    async with opened() as (stand_in, client):
        rejected = await stand_in.place_call()
        await client.realtime.calls.reject(rejected.call_id, status_code=486)
        assert await rejected.ended() == "rejected"
        assert rejected.log[-2].payload["status_code"] == 486
        referred = await accepted_call(stand_in)
        await client.realtime.calls.refer(referred.call_id, target_uri="tel:+31201234567")
        assert await referred.ended() == "transferred"
        hung_up = await accepted_call(stand_in)
        await client.realtime.calls.hangup(hung_up.call_id)
        assert await hung_up.ended() == "hangup"
        assert (hung_up.ended_by or "").startswith("AsyncOpenAI/Python")
        for call in (rejected, referred, hung_up):
            with pytest.raises(openai.NotFoundError) as gone:
                await client.realtime.calls.hangup(call.call_id)
            assert gone.value.code == "call_id_not_found"
            assert "No session found for the provided call_id" in gone.value.message
            assert gone.value.request_id


async def test_the_official_client_makes_a_call_by_webrtc_that_runs_the_default_script() -> None:
    async with opened(webrtc_script=[{"caller": "Hello?"}, {"hang_up": True}], hello_seconds=0) as (stand_in, client):
        made = await client.realtime.calls.with_raw_response.create(sdp=OFFER, session=SESSION)
        assert made.http_response.status_code == 201
        assert made.text.startswith("v=0\r\n")
        assert made.text.endswith("\r\n")
        call = stand_in.calls[made.headers["location"].removeprefix("/v1/realtime/calls/")]
        async with attach(stand_in, call) as socket:
            await next_event(socket, "response.done")
            assert await call.ended() == "caller_hung_up"


@pytest.mark.parametrize(
    ("which", "standard", "ephemeral"), [("either", 101, 101), ("standard", 101, 404), ("ephemeral", 404, 101)]
)
async def test_which_key_attaches_to_a_call_made_with_an_ephemeral_key(
    which: str, standard: int, ephemeral: int
) -> None:
    async with opened(ephemeral_calls_attach_with=which) as (stand_in, client):
        secret = await client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60}, session=SESSION
        )
        assert secret.session.id.startswith("sess_")
        async with aiohttp.ClientSession() as http:
            headers = {"Authorization": f"Bearer {secret.value}", "Content-Type": "application/sdp"}
            made = await http.post(f"{stand_in.base_url}/realtime/calls", data=OFFER, headers=headers)
            assert (made.status, made.headers["access-control-expose-headers"]) == (201, "Location, X-Request-Id")
        call = stand_in.calls[made.headers["Location"].rsplit("/", 1)[1]]
        for key, wanted in (("sk-test", standard), (secret.value, ephemeral)):
            if wanted == 404:
                assert await refused_with(stand_in, call, key=key) == 404
            else:
                async with attach(stand_in, call, key=key) as socket:
                    await say(socket, type="session.update", session={"type": "realtime"})
                    await next_event(socket, "session.updated")


async def test_a_wrong_key_and_no_key_are_401_everywhere() -> None:
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        stranger = client_of(stand_in, "sk-wrong")
        with pytest.raises(openai.AuthenticationError) as refused:
            await stranger.realtime.calls.hangup(call.call_id)
        assert refused.value.code == "invalid_api_key"
        assert await refused_with(stand_in, call, key="sk-wrong") == 401
        with pytest.raises(InvalidStatus, match="401"):
            await connect(f"{stand_in.websocket_base_url}/realtime?call_id={call.call_id}")
        assert call.state == "accepted"
        assert call.attaches == 0
        await stranger.close()


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"model": "gpt-realtime-2.1"}, "missing_required_parameter", "session.type"),
        ({"type": "realtime", "temperature": 1}, "unknown_parameter", "session.temperature"),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.5}}}},
            "invalid_value",
            "session.audio.input.turn_detection",
        ),
    ],
)
async def test_an_accept_that_cannot_work_is_refused_and_the_phone_rings_on(
    body: dict[str, Any], code: str, param: str
) -> None:
    async with opened() as (stand_in, client):
        call = await stand_in.place_call()
        with pytest.raises(openai.BadRequestError) as refused:
            await client.post(f"/realtime/calls/{call.call_id}/accept", body=body, cast_to=object)
        assert (refused.value.code, refused.value.param) == (code, param)
        assert call.state == "ringing"


@pytest.mark.parametrize(
    ("path", "content_type", "body", "status"),
    [
        ("calls/rtc_unknown/accept", "application/json", b'{"type": "realtime"}', 404),
        ("calls/KNOWN/accept", "application/json", b"{", 400),
        ("calls/KNOWN/reject", "application/json", b'{"status_code": 200}', 400),
        ("calls/KNOWN/refer", "application/json", b'{"target_uri": "tel:+1"}', 409),
        ("calls", "application/sdp", OFFER.encode(), 400),
        ("calls", "multipart/form-data; boundary=x", b"no form", 400),
        ("client_secrets", "application/json", b'{"expires_after": {"seconds": 5}}', 400),
    ],
)
async def test_a_bad_request_gets_an_error_in_the_services_shape_and_an_id(
    path: str, content_type: str, body: bytes, status: int
) -> None:
    async with opened() as (stand_in, _), aiohttp.ClientSession() as http:
        call = await stand_in.place_call()
        url = f"{stand_in.base_url}/realtime/{path.replace('KNOWN', call.call_id)}"
        headers = {"Authorization": "Bearer sk-test", "Content-Type": content_type}
        async with http.post(url, data=body, headers=headers) as answer:
            assert answer.status == status
            assert set((await answer.json())["error"]) == {"message", "type", "param", "code"}
            assert answer.headers["x-request-id"].startswith("req_")
        logged = [entry for entry in stand_in.log if entry.kind == "rest"]
        assert [entry.payload["status"] for entry in logged] == [status]
        assert call.state == "ringing"


async def test_the_first_decision_on_a_call_counts() -> None:
    async with opened() as (stand_in, client):
        call = await accepted_call(stand_in)
        for decision in (
            client.realtime.calls.accept(call.call_id, **SESSION),
            client.realtime.calls.reject(call.call_id),
        ):
            with pytest.raises(openai.ConflictError) as refused:
                await decision
            assert refused.value.code == "decision_already_made"
        stand_in.options.change({"second_accept": "allow"})
        await client.realtime.calls.accept(call.call_id, **SESSION)


async def test_an_unusable_accept_may_get_200_and_a_dead_call() -> None:
    async with opened(unusable_accept="swallow") as (stand_in, client):
        call = await stand_in.place_call()
        await client.post(f"/realtime/calls/{call.call_id}/accept", body={"type": "realtime", "x": 1}, cast_to=object)
        assert await call.ended() == "failed"
        assert await refused_with(stand_in, call) == 404


# Attaching


async def test_a_call_is_attachable_only_from_accept_to_its_end() -> None:
    async with opened(attachable_after_ms=0) as (stand_in, _):
        call = await stand_in.place_call()
        assert await refused_with(stand_in, call) == 404
        call.accept(SESSION)
        async with attach(stand_in, call):
            pass
        call.hang_up()
        assert await refused_with(stand_in, call) == 404
        stand_in.options.change({"ended_attach_status": 410})
        assert await refused_with(stand_in, call) == 410


async def test_an_attach_may_come_too_early() -> None:
    async with opened(attachable_after_ms=60_000) as (stand_in, _):
        assert await refused_with(stand_in, await accepted_call(stand_in)) == 404


async def test_an_attach_is_silent_unless_told_otherwise() -> None:
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as socket:
            await say(socket, type="session.update", session={"type": "realtime"})
            assert json.loads(await socket.recv())["type"] == "session.updated"
        stand_in.options.change({"session_created_on_attach": True})
        async with attach(stand_in, call) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"


async def test_two_sockets_both_hear_everything_unless_the_second_is_refused() -> None:
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as first, attach(stand_in, call) as second:
            await say(second, type="response.create")
            assert (await next_event(first, "response.done")) == (await next_event(second, "response.done"))
            stand_in.options.change({"second_attach": "refuse", "second_attach_status": 423})
            assert await refused_with(stand_in, call) == 423


# Callers


async def test_a_caller_gives_up_ringing() -> None:
    async with opened(ring_seconds=0.05) as (stand_in, client):
        call = await stand_in.place_call()
        assert await call.ended() == "gave_up"
        with pytest.raises(openai.NotFoundError):
            await client.realtime.calls.accept(call.call_id, **SESSION)


async def test_a_caller_may_be_gone_without_anybody_noticing() -> None:
    async with opened(accept_after_caller_gone="allow") as (stand_in, client):
        call = await stand_in.place_call([{"caller": "Hello?"}])
        call.hang_up()
        await client.realtime.calls.accept(call.call_id, **SESSION)
        async with attach(stand_in, call) as socket:
            await say(socket, type="response.create")
            await next_event(socket, "output_audio_buffer.stopped")
        assert "Caller" not in kinds(call, "script")


async def test_a_caller_who_is_not_greeted_speaks_first() -> None:
    async with opened(hello_seconds=0.05) as (stand_in, _):
        call = await accepted_call(stand_in, {"caller": "Anybody there?"})
        async with attach(stand_in, call) as socket:
            await next_event(socket, "input_audio_buffer.speech_started")


async def test_the_call_goes_on_without_a_sideband_and_the_script_after_a_new_attach() -> None:
    """What happens while nobody is attached is lost; the caller waits for the tool, and then goes on."""
    script: list[dict[str, Any]] = [
        {"caller": "Where is it?"},
        {"tool": "find", "call_id": "call_1"},
        {"wait_for": "tool_output"},
        {"caller": "Thanks!"},
        {"hang_up": True},
    ]
    async with opened(hello_seconds=0) as (stand_in, _):
        call = await accepted_call(stand_in, *script)
        async with attach(stand_in, call, who="first"):
            pass
        done = await stand_in.log.wait_for(
            lambda entry: entry.kind == "frame_lost" and entry.type == "rate_limits.updated"
        )
        assert done.call_id == call.call_id
        assert call.conversation
        assert call.conversation.pending_outputs == {"call_1"}
        async with attach(stand_in, call, who="second") as socket:
            output = {"type": "function_call_output", "call_id": "call_1", "output": "here"}
            await say(socket, type="conversation.item.create", item=output)
            await say(socket, type="response.create")
            assert (await next_event(socket, "response.output_audio_transcript.done"))["transcript"].endswith("here")
            assert (await next_event(socket, "response.output_audio_transcript.done"))[
                "transcript"
            ] == "You said: Thanks!"
            assert await call.ended() == "caller_hung_up"
        assert [entry.attach for entry in call.log if entry.kind == "attach"] == [1, 2]


async def test_a_caller_does_not_wait_for_ever() -> None:
    script: list[dict[str, Any]] = [{"wait_for": "greeting"}, {"model": "Never said."}, {"hang_up": True}]
    async with opened(patience_seconds=0.05) as (stand_in, _):
        call = await accepted_call(stand_in, *script)
        assert await call.ended() == "caller_hung_up"
        assert kinds(call, "script") == ["impatient", "WaitFor", "skipped", "HangUp"]


async def test_a_caller_interrupts_in_the_middle_of_a_call_of_a_function() -> None:
    script: list[dict[str, Any]] = [
        {"caller": "Cancel order B-1042"},
        {"tool": "cancel", "arguments": {"order_id": "B-1042"}},
        {"barge_in": "No, stop!"},
        {"model": "I have not cancelled anything."},
        {"dtmf": "1#"},
        {"event": {"type": "conversation.created", "event_id": "event_1", "conversation": {"id": "conv_1"}}},
        {"pause_ms": 1},
        {"wait_for": "response"},
        {"hang_up": True},
    ]
    async with opened(hello_seconds=0) as (stand_in, _):
        call = await accepted_call(stand_in, *script)
        async with attach(stand_in, call) as socket:
            done = await next_event(socket, "response.function_call_arguments.done")
            assert done["arguments"] not in ("", '{"order_id":"B-1042"}')
            assert (await next_event(socket, "response.done"))["response"]["status"] == "cancelled"
            await next_event(socket, "conversation.created")
            assert await call.ended() == "caller_hung_up"
        assert kinds(call, "frame_out").count("input_audio_buffer.dtmf_event_received") == 2
        assert "impatient" not in kinds(call, "script")


# Ends


@pytest.mark.parametrize(("style", "raised"), [("drop", ConnectionClosedError), ("clean", ConnectionClosedOK)])
async def test_sockets_go_at_the_end_of_a_call(style: str, raised: type[ConnectionClosed]) -> None:
    async with opened(close_style=style) as (stand_in, _):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as socket:
            call.hang_up()
            with pytest.raises(raised):
                await socket.recv()


async def test_a_session_expires_with_the_services_words_and_then_the_socket_goes() -> None:
    async with opened(session_seconds=0.2) as (stand_in, _):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as socket:
            error = (await next_event(socket, "error"))["error"]
            assert (error["code"], error["message"]) == (
                "session_expired",
                "Your session hit the maximum duration of 60 minutes.",
            )
            with pytest.raises(ConnectionClosedError):
                await socket.recv()
        assert await call.ended() == "session_expired"


async def test_a_refer_may_have_no_effect() -> None:
    async with opened(refer="no_effect") as (stand_in, client):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as socket:
            await client.realtime.calls.refer(call.call_id, target_uri="sip:agent@example.com")
            await say(socket, type="session.update", session={"type": "realtime"})
            await next_event(socket, "session.updated")
        with pytest.raises(openai.BadRequestError):
            await client.realtime.calls.refer(call.call_id, target_uri="mailto:a@b")


# Webhooks


async def test_a_failed_delivery_is_tried_again_with_the_same_id_and_a_time_of_its_own() -> None:
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


async def test_an_endpoint_that_is_down_is_tried_a_bounded_number_of_times() -> None:
    async with opened(
        webhook_url="http://127.0.0.1:9/", webhook_secrets=[SECRET], webhook_attempts=2, webhook_backoff_seconds=0.01
    ) as (stand_in, _):
        await stand_in.place_call()
        last = await stand_in.log.wait_for(lambda entry: entry.payload.get("attempt") == 2)
        assert "127.0.0.1" in last.payload["error"]


async def test_deliveries_are_doubled_dropped_late_and_twinned_on_demand() -> None:
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


async def test_a_webhook_without_an_address_is_refused_at_once() -> None:
    async with opened() as (stand_in, _):
        with pytest.raises(ValueError, match="webhook_url"):
            await stand_in.place_call(webhook=True)


# Faults


async def test_requests_fail_before_or_after_they_took_effect() -> None:
    async with opened() as (stand_in, client):
        call = await stand_in.place_call()
        stand_in.inject({"fault": "rest", "operation": "accept", "status": 500})
        applied = stand_in.inject({"fault": "rest", "operation": "accept", "status": 503, "applied": True})
        for state in ("ringing", "accepted"):
            with pytest.raises(openai.InternalServerError):
                await client.realtime.calls.accept(call.call_id, **SESSION)
            assert call.state == state
        assert applied.struck == 1
        assert [entry.payload["applied"] for entry in call.log if entry.kind == "rest"] == [False, True]


async def test_a_request_may_take_effect_and_then_hang() -> None:
    async with opened() as (stand_in, client):
        call = await stand_in.place_call()
        stand_in.inject({"fault": "rest", "operation": "accept", "hang_seconds": 30})
        with pytest.raises(openai.APITimeoutError):
            await client.with_options(timeout=0.2).realtime.calls.accept(call.call_id, **SESSION)
        assert call.state == "accepted"


async def test_attaches_are_refused_as_often_as_asked() -> None:
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        stand_in.inject({"fault": "upgrade", "status": 503, "times": 2, "call_id": call.call_id})
        assert [await refused_with(stand_in, call) for _ in range(2)] == [503, 503]
        async with attach(stand_in, call):
            pass
        assert kinds(call, "refused") == ["503", "503"]


@pytest.mark.parametrize("close_code", [None, 1012])
async def test_sockets_are_cut_and_the_call_goes_on(close_code: int | None) -> None:
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as socket:
            stand_in.inject({"fault": "cut", "close_code": close_code})
            with pytest.raises(ConnectionClosedError) as closed:
                await socket.recv()
            assert (closed.value.rcvd.code if closed.value.rcvd else None) == close_code
        async with attach(stand_in, call) as socket:
            await say(socket, type="response.create")
            await next_event(socket, "response.done")


async def test_a_socket_is_cut_in_place_of_an_event() -> None:
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in, {"tool": "a"})
        stand_in.inject({"fault": "cut", "on_server_event": "response.function_call_arguments.done"})
        async with attach(stand_in, call) as socket:
            await say(socket, type="response.create")
            with pytest.raises(ConnectionClosedError):
                await next_event(socket, "response.done")
        await stand_in.log.wait_for(lambda entry: entry.type == "rate_limits.updated")
        assert "response.function_call_arguments.done" in kinds(call, "frame_lost")
        assert "response.done" in kinds(call, "frame_lost")


async def test_a_socket_is_cut_after_a_client_event_took_effect() -> None:
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        stand_in.inject({"fault": "cut", "on_client_event": "conversation.item.create", "call_id": call.call_id})
        item = {"type": "function_call_output", "call_id": "call_1", "output": "x", "id": "out_1"}
        async with attach(stand_in, call) as socket:
            await say(socket, type="conversation.item.create", item=item)
            await say(socket, type="response.create")
            with pytest.raises(ConnectionClosedError):
                await socket.recv()
        assert "response.create" not in kinds(call, "frame_in")
        async with attach(stand_in, call) as socket:
            await say(socket, type="conversation.item.retrieve", item_id="out_1")
            assert (await next_event(socket, "conversation.item.retrieved"))["item"]["output"] == "x"


async def test_frames_are_held_back_in_order() -> None:
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        fault = stand_in.inject({"fault": "delay", "delay_ms": 50, "times": 2})
        async with attach(stand_in, call) as socket:
            started = asyncio.get_running_loop().time()
            await say(socket, type="response.create")
            assert json.loads(await socket.recv())["type"] == "response.created"
            assert json.loads(await socket.recv())["type"] == "response.output_item.added"
            assert asyncio.get_running_loop().time() - started >= 0.1
        assert fault.struck == 2


# The log, and other processes


async def test_the_log_says_who_wrote_what_through_which_socket(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    async with opened(log_path=str(path)) as (stand_in, client):
        call = await stand_in.place_call()
        await client.realtime.calls.accept(call.call_id, **SESSION)
        for who in ("supervisor-a", "supervisor-b"):
            async with attach(stand_in, call, who=who) as socket:
                await say(socket, type="session.update", session={"type": "realtime", "instructions": who})
                await next_event(socket, "session.updated")
                port = socket.local_address[1]
        await stand_in.log.wait_for(lambda entry: entry.kind == "detach" and entry.attach == 2)
        updates = [entry for entry in call.log if entry.kind == "frame_in"]
        assert [(entry.who, entry.attach, entry.direction) for entry in updates] == [
            ("supervisor-a", 1, "in"),
            ("supervisor-b", 2, "in"),
        ]
        assert updates[1].port == port
        assert updates[1].payload["session"]["instructions"] == "supervisor-b"
        assert kinds(call, "rest") == ["accept"]
        assert [entry.sequence for entry in stand_in.log] == list(range(1, len(stand_in.log) + 1))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["type"] for line in lines if line["kind"] == "frame_in"] == ["session.update"] * 2


async def test_another_process_does_the_same_over_http() -> None:
    async with (
        opened(hello_seconds=0) as (stand_in, _),
        aiohttp.ClientSession(stand_in.base_url.replace("/v1", "/stand-in/")) as http,
    ):

        async def ask(method: str, path: str, body: Any = None) -> tuple[int, Any]:
            async with http.request(method, path, json=body) as answer:
                return answer.status, await answer.json()

        status, placed = await ask("POST", "calls", {"script": [{"wait_for": "greeting"}], "headers": [["X-Id", "7"]]})
        call_id = placed["call_id"]
        assert (status, placed["state"]) == (201, "ringing")
        stand_in.calls[call_id].accept(SESSION)
        assert (await ask("POST", f"calls/{call_id}/say", {"text": "Hello"}))[0] == 200
        assert (await ask("POST", f"calls/{call_id}/dtmf", {"keys": "1"}))[0] == 200
        after, types = 0, set[str]()
        while not {"response.done", "input_audio_buffer.dtmf_event_received"} <= types:
            entries = (await ask("GET", f"log?after={after}&wait_seconds=5&call_id={call_id}"))[1]
            types |= {entry["type"] for entry in entries}
            after = max([after, *(entry["sequence"] for entry in entries)])
        assert (await ask("PATCH", "options", {"speed": 10}))[1]["speed"] == stand_in.options.speed == 10
        assert (await ask("POST", "faults", {"fault": "upgrade"}))[0] == 201
        assert [fault["struck"] for fault in (await ask("GET", "faults"))[1]] == [0]
        assert (await ask("DELETE", "faults")) == (200, [])
        assert (await ask("POST", f"calls/{call_id}/hang_up"))[1]["end_reason"] == "caller_hung_up"
        assert (await ask("GET", f"calls/{call_id}"))[1]["state"] == "ended"
        assert len((await ask("GET", "calls"))[1]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "complaint"),
    [
        ("POST", "calls", {"script": [{"calller": "Hi"}]}, "Step 1"),
        ("POST", "calls", {"scripts": []}, "scripts"),
        ("POST", "faults", {"fault": "flood"}, "flood"),
        ("PATCH", "options", {"speed": -1}, "speed"),
        ("GET", "log?after=x", None, "invalid literal"),
    ],
)
async def test_what_is_wrong_over_http_is_said(method: str, path: str, body: Any, complaint: str) -> None:
    async with (
        opened() as (stand_in, _),
        aiohttp.ClientSession(stand_in.base_url.replace("/v1", "/stand-in/")) as http,
        http.request(method, path, json=body) as answer,
    ):
        assert answer.status == 400
        assert complaint in (await answer.json())["error"]["message"]


async def test_closing_the_stand_in_ends_its_calls_and_leaves_no_task() -> None:
    async with serve() as stand_in:
        call = await accepted_call(stand_in, {"caller": "Hello?"})
        socket = await attach(stand_in, call)
    assert call.end_reason == "stand_in_closed"
    with pytest.raises(ConnectionClosedError):
        await socket.recv()
    assert not [task for task in asyncio.all_tasks() if call.call_id in task.get_name()]


async def test_an_error_in_the_users_block_comes_out_as_it_is() -> None:
    async def fail() -> None:
        async with serve() as stand_in:
            await stand_in.place_call()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
