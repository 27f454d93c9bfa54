"""The stand-in for OpenAI over real sockets, driven by the official client, which is not modified in any way."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from emulator.openai import serve
from tests.support.openai_stand_in import (
    OFFER,
    OLD_SECRET,
    SECRET,
    SESSION,
    accepted_call,
    attach,
    client_of,
    kinds,
    next_event,
    opened,
    refused_with,
    say,
    webhook_receiver,
)


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


async def test_the_official_client_takes_a_call() -> None:
    """The official client hears of a call, takes it, and runs a turn with a tool."""
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


async def test_the_official_client_ends_calls() -> None:
    """The official client rejects, refers and hangs up."""
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


async def test_the_official_client_makes_a_call() -> None:
    """The official client makes a call by WebRTC, which runs the default script."""
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
async def test_which_key_attaches(which: str, standard: int, ephemeral: int) -> None:
    """Which key attaches to a call that was made with an ephemeral key is an option."""
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


async def test_wrong_keys_are_401_everywhere() -> None:
    """A wrong key and no key are 401 everywhere."""
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
async def test_an_unusable_accept_is_refused(body: dict[str, Any], code: str, param: str) -> None:
    """An accept that cannot work is refused, and the phone rings on."""
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
async def test_a_bad_request_gets_an_error(path: str, content_type: str, body: bytes, status: int) -> None:
    """A bad request gets an error in the service's shape, and an id."""
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


async def test_the_first_decision_counts() -> None:
    """The first decision on a call counts."""
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


async def test_an_unusable_accept_may_get_200() -> None:
    """An unusable accept may get 200, and a dead call."""
    async with opened(unusable_accept="swallow") as (stand_in, client):
        call = await stand_in.place_call()
        await client.post(f"/realtime/calls/{call.call_id}/accept", body={"type": "realtime", "x": 1}, cast_to=object)
        assert await call.ended() == "failed"
        assert await refused_with(stand_in, call) == 404


async def test_a_refer_may_have_no_effect() -> None:
    """A transfer may be answered with 200 and have no effect."""
    async with opened(refer="no_effect") as (stand_in, client):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as socket:
            await client.realtime.calls.refer(call.call_id, target_uri="sip:agent@example.com")
            await say(socket, type="session.update", session={"type": "realtime"})
            await next_event(socket, "session.updated")
        with pytest.raises(openai.BadRequestError):
            await client.realtime.calls.refer(call.call_id, target_uri="mailto:a@b")


async def test_the_log_says_who_wrote_what(tmp_path: Path) -> None:
    """The log says who wrote what through which socket."""
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


async def test_another_process_controls_it() -> None:
    """Another process does the same over HTTP."""
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
async def test_wrong_requests_are_explained(method: str, path: str, body: Any, complaint: str) -> None:
    """What is wrong with a request over HTTP is said."""
    async with (
        opened() as (stand_in, _),
        aiohttp.ClientSession(stand_in.base_url.replace("/v1", "/stand-in/")) as http,
        http.request(method, path, json=body) as answer,
    ):
        assert answer.status == 400
        assert complaint in (await answer.json())["error"]["message"]


async def test_closing_leaves_no_task() -> None:
    """Closing the stand-in ends its calls, and leaves no task."""
    async with serve() as stand_in:
        call = await accepted_call(stand_in, {"caller": "Hello?"})
        socket = await attach(stand_in, call)
    assert call.end_reason == "stand_in_closed"
    with pytest.raises(ConnectionClosedError):
        await socket.recv()
    assert not [task for task in asyncio.all_tasks() if call.call_id in task.get_name()]


async def test_an_error_in_the_block_comes_out() -> None:
    """An error in the user's block comes out as it is."""

    async def fail() -> None:
        async with serve() as stand_in:
            await stand_in.place_call()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
