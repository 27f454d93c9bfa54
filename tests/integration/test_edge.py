"""The edge, from the webhook over HTTP to the notice on Pub/Sub."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.support.deliveries import OTHER_SECRET, SECRET, incoming, signed
from tests.support.edge_process import FROM_REPOSITORY, PATIENCE_SECONDS, PROJECT, ROOT, Answer, Edge, running_edge
from tests.support.edge_pubsub import Claims, create_topic, free_port, pubsub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_BODY_BYTES = 256 * 1024
PHONE_NUMBER = "+31201234567"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pubsub_and_edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Claims, Edge]]:
    async with pubsub() as (host_port, claims):
        await create_topic(host_port)
        async with running_edge(tmp_path_factory.mktemp("edge"), PUBSUB_EMULATOR_HOST=host_port) as edge:
            yield claims, edge


@pytest.fixture
def claims(pubsub_and_edge: tuple[Claims, Edge]) -> Claims:
    return pubsub_and_edge[0]


@pytest.fixture
def edge(pubsub_and_edge: tuple[Claims, Edge]) -> Edge:
    return pubsub_and_edge[1]


def new_call(call_id: str = "", **data: object) -> bytes:
    return incoming(created_at=int(time.time()), call_id=call_id or f"rtc_{uuid4().hex}", **data)


async def assert_that_only_a_good_call_comes_through(edge: Edge, claims: Claims) -> None:
    """The edge still serves, in the same worker, and what Pub/Sub has next is this call: nothing came before it."""
    call_id = f"rtc_{uuid4().hex}"
    assert (await edge.deliver(new_call(call_id))).outcome == (200, "published")
    assert await claims.next_call_id() == call_id
    assert edge.restarted_workers.empty()


@pytest.mark.parametrize("path", ["/webhooks/openai", "/"])
async def test_a_call_is_published_once_and_whole(edge: Edge, claims: Claims, path: str) -> None:
    """A call is published exactly once, and whole."""
    sip_headers = [("Via", "a"), ("From", f"sip:{PHONE_NUMBER}@sip.example.com"), ("Via", "a"), ("X-Id", "é")]
    body = new_call(
        "rtc_u0_1",
        sip_headers=[{"name": name, "value": value, "new": None} for name, value in sip_headers],
        sip_media_security="srtp",
        new_field={"a": [1]},
    )
    started_at = time.time()
    answer = await edge.deliver(body, path=path, traceparent=TRACEPARENT)
    assert answer.outcome == (200, "published")

    message = await claims.next_message()
    assert dict(message.attributes) == {"schema": "1", "surface": "realtime", "transport": "sip"}
    published = json.loads(message.data)
    assert started_at <= published.pop("received_at") <= time.time()
    assert published == {
        "schema": 1,
        "call_id": "rtc_u0_1",
        "surface": "realtime",
        "transport": "sip",
        "source": "webhook",
        "webhook_id": "wh_1",
        "event_id": "evt_1",
        "created_at": json.loads(body)["created_at"],
        "sip_headers": [list(header) for header in sip_headers],
        "sip_media_security": "srtp",
        "context": {},
        "traceparent": TRACEPARENT,
    }
    await assert_that_only_a_good_call_comes_through(edge, claims)


async def test_many_calls_are_each_published_once(edge: Edge, claims: Claims) -> None:
    """Of many calls at once each is published once."""
    call_ids = {f"rtc_{uuid4().hex}" for _ in range(40)}
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(edge.deliver(new_call(call_id)), name=call_id) for call_id in call_ids]
    assert {answer.result().outcome for answer in answers} == {(200, "published")}
    assert {await claims.next_call_id() for _ in call_ids} == call_ids
    await assert_that_only_a_good_call_comes_through(edge, claims)


async def test_both_secrets_sign_in_a_rotation(edge: Edge, claims: Claims) -> None:
    """During a rotation both secrets are good."""
    for secret in (SECRET, OTHER_SECRET):
        body = new_call()
        headers = signed(body, timestamp=int(time.time()), secret=secret)
        assert (await edge.request("POST", "/webhooks/openai", body, headers)).outcome == (200, "published")
        await claims.next_message()


async def test_a_late_retry_is_dropped(edge: Edge, claims: Claims) -> None:
    """A retry that comes too late is answered with 200 and dropped."""
    answer = await edge.deliver(incoming(created_at=int(time.time()) - 182, call_id="rtc_late"))
    assert answer.outcome == (200, "too_late")
    assert edge.logs[-1]["call_id"] == "rtc_late"
    assert edge.logs[-1]["severity"] == "WARNING"
    await assert_that_only_a_good_call_comes_through(edge, claims)


@pytest.mark.parametrize(
    ("event_type", "reason"),
    [
        ("live.transport.incoming", "the first accept decides"),
        ("live.call.incoming", "the first accept decides"),
        ("live.transport.connected", "tells of no call"),
        ("batch.completed", "tells of no call"),
        ("something.new", "tells of no call"),
    ],
)
async def test_other_events_are_ignored(edge: Edge, claims: Claims, event_type: str, reason: str) -> None:
    """Any other event is answered with 200 and ignored."""
    body = json.dumps({"type": event_type, "id": "evt_2", "data": {"session_id": "live_1", "sip_headers": []}})
    assert (await edge.deliver(body.encode())).outcome == (200, "ignored")
    assert edge.logs[-1]["event_type"] == event_type
    assert reason in edge.logs[-1]["message"]
    await assert_that_only_a_good_call_comes_through(edge, claims)


async def test_health_checks_are_answered(edge: Edge) -> None:
    """A health check is answered, by GET and by HEAD."""
    assert (await edge.request("GET", "/")).outcome == (200, "serving")
    assert (await edge.request("HEAD", "/")).status == 200


def changed(**headers: str) -> Callable[[Edge], Awaitable[Answer]]:
    return lambda edge: edge.deliver(new_call(), **headers)


def body(content: bytes) -> Callable[[Edge], Awaitable[Answer]]:
    return lambda edge: edge.deliver(content)


def timed(seconds_off: int) -> Callable[[Edge], Awaitable[Answer]]:
    async def deliver(edge: Edge) -> Answer:
        content = new_call()
        headers = signed(content, timestamp=int(time.time()) + seconds_off)
        return await edge.request("POST", "/webhooks/openai", content, headers)

    return deliver


def without(header: str) -> Callable[[Edge], Awaitable[Answer]]:
    async def deliver(edge: Edge) -> Answer:
        content = new_call()
        headers = {name: value for name, value in signed(content, timestamp=int(time.time())).items() if name != header}
        return await edge.request("POST", "/webhooks/openai", content, headers)

    return deliver


def doubled(header: str) -> Callable[[Edge], Awaitable[Answer]]:
    async def deliver(edge: Edge) -> Answer:
        content = new_call()
        headers = signed(content, timestamp=int(time.time()))
        return await edge.request("POST", "/webhooks/openai", content, [*headers.items(), (header, headers[header])])

    return deliver


def in_chunks(content: bytes) -> Callable[[Edge], Awaitable[Answer]]:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 50_000):
            yield content[start : start + 50_000]

    return lambda edge: edge.request("POST", "/", chunks(), signed(content, timestamp=int(time.time())))


def sent(head: str, content: bytes = b"") -> Callable[[Edge], Awaitable[Answer]]:
    head += "\r\nHost: edge\r\nContent-Type: application/json\r\n\r\n"
    return lambda edge: edge.send(head.encode() + content)


async def cut_off(edge: Edge) -> Answer:
    """A body that ends before its announced length, from a client that still listens."""
    content = new_call()
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed(content, timestamp=int(time.time())).items())
    head = f"POST / HTTP/1.1\r\nHost: edge\r\n{lines}Content-Length: {len(content) + 1}\r\n\r\n"
    return await edge.send(head.encode() + content, then_end=True)


def request(method: str, path: str) -> Callable[[Edge], Awaitable[Answer]]:
    return lambda edge: edge.request(method, path)


def other_event(size: int) -> bytes:
    event = b'{"type":"batch.completed","data":""}'
    return event[:-2] + b"x" * (size - len(event)) + event[-2:]


CHUNKED = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked"
BAD_REQUESTS: dict[str, tuple[Callable[[Edge], Awaitable[Answer]], int, str]] = {
    "no id": (without("webhook-id"), 400, "missing_header"),
    "no timestamp": (without("webhook-timestamp"), 400, "missing_header"),
    "no signature": (without("webhook-signature"), 400, "missing_header"),
    "id twice": (doubled("webhook-id"), 400, "invalid_header"),
    "timestamp twice": (doubled("webhook-timestamp"), 400, "invalid_header"),
    "signature twice": (doubled("webhook-signature"), 401, "invalid_signature"),
    "signature of another body": (changed(webhook_signature="v1," + "A" * 43 + "="), 401, "invalid_signature"),
    "signature not ASCII": (changed(webhook_signature="v1,ключ"), 401, "invalid_signature"),
    "signature not base64": (changed(webhook_signature="v1,*,*"), 401, "invalid_signature"),
    "timestamp old": (timed(-310), 401, "invalid_timestamp"),
    "timestamp in the future": (timed(310), 401, "invalid_timestamp"),
    "timestamp not an integer": (changed(webhook_timestamp="1e9"), 400, "invalid_header"),
    "timestamp of 8,000 digits": (changed(webhook_timestamp="9" * 8000), 400, "invalid_header"),
    "id changed": (changed(webhook_id="wh_2"), 401, "invalid_signature"),
    "no content type": (without("content-type"), 415, "unsupported_media_type"),
    "another content type": (changed(content_type="text/plain"), 415, "unsupported_media_type"),
    "not UTF-8": (body(b"\xff\xfe"), 400, "invalid_body"),
    "empty": (body(b""), 400, "invalid_json"),
    "not JSON": (body(b"call me"), 400, "invalid_json"),
    "JSON with NaN": (body(b'{"type":"batch.completed","data":NaN}'), 400, "invalid_json"),
    "JSON 100,000 deep": (body(b"[" * 100_000 + b"]" * 100_000), 400, "invalid_json"),
    "JSON with a number of 100,000 digits": (body(b'{"type":' + b"9" * 100_000 + b"}"), 400, "invalid_json"),
    "JSON of another shape": (body(b"[]"), 400, "invalid_event"),
    "a call without an id": (body(incoming(created_at=1, call_id=None)), 400, "invalid_event"),
    "created_at of 400 digits": (body(incoming(created_at=10**400)), 400, "invalid_event"),
    "a byte too long": (body(other_event(MAX_BODY_BYTES + 1)), 413, "body_too_large"),
    "a byte too long, in chunks": (in_chunks(other_event(MAX_BODY_BYTES + 1)), 413, "body_too_large"),
    # Not much more, since gunicorn takes 64 kB before it resets a connection on which the client still writes.
    "50 kB too long, in chunks": (in_chunks(other_event(MAX_BODY_BYTES + 50_000)), 413, "body_too_large"),
    "a gigabyte announced": (sent("POST / HTTP/1.1\r\nContent-Length: 1000000000"), 413, "body_too_large"),
    "a body shorter than announced": (cut_off, 400, "invalid_body"),
    "a chunk of a gigabyte": (sent(CHUNKED, b"3b9aca00\r\n" + bytes(300_000)), 413, "body_too_large"),
    "a chunk without a size": (sent(CHUNKED, b"zz\r\n"), 400, "invalid_body"),
    "a chunk without its end": (sent(CHUNKED, b"2\r\n{}xx"), 400, "invalid_body"),
    "a malformed trailer": (sent(CHUNKED, b"2\r\n{}\r\n0\r\nnot a header\r\n\r\n"), 400, "invalid_body"),
    "GET of the webhook": (request("GET", "/webhooks/openai"), 405, "method_not_allowed"),
    "DELETE": (request("DELETE", "/"), 405, "method_not_allowed"),
    "OPTIONS": (request("OPTIONS", "/webhooks/openai"), 405, "method_not_allowed"),
    "another path": (request("POST", "/webhooks/others"), 404, "not_found"),
    "a path that is not UTF-8": (request("GET", "/%ff"), 404, "not_found"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
async def test_a_bad_request_harms_nobody(edge: Edge, claims: Claims, case: str) -> None:
    """A bad request is a 4xx, and harms nobody."""
    send, status, code = BAD_REQUESTS[case]
    assert (await send(edge)).error == (status, code)
    await assert_that_only_a_good_call_comes_through(edge, claims)


async def test_a_wrong_method_is_told_the_right(edge: Edge) -> None:
    """A method that is not served is told those that are."""
    assert (await edge.request("PUT", "/webhooks/openai")).headers["Allow"] == "POST"
    assert (await edge.request("PUT", "/")).headers["Allow"] == "GET, HEAD, POST"


async def test_the_largest_body_is_read_whole(edge: Edge) -> None:
    """A body of just the allowed size is read whole."""
    largest = other_event(MAX_BODY_BYTES)
    assert (await edge.deliver(largest)).outcome == (200, "ignored")
    assert (await in_chunks(largest)(edge)).outcome == (200, "ignored")


async def test_logs_name_the_call_and_nobody(edge: Edge, claims: Claims) -> None:
    """Logs are JSON lines that name the call and nobody else."""
    header = {"name": "From", "value": f"sip:{PHONE_NUMBER}@sip.example.com"}
    await edge.deliver(new_call("rtc_logged", sip_headers=[header]))
    published = edge.logs[-1]
    assert published["severity"] == "INFO"
    assert published["call_id"] == "rtc_logged"
    assert published["message_id"] == (await claims.next_message()).message_id
    await edge.deliver(new_call(sip_headers=[header | {"name": 5}]))
    await edge.deliver(new_call(sip_headers=[header]), webhook_signature="v1,wrong")
    assert [line["severity"] for line in edge.logs[-2:]] == ["WARNING", "WARNING"]
    everything = "\n".join(edge.log_lines)
    for unspoken in (PHONE_NUMBER[1:], "sip.example.com", SECRET, OTHER_SECRET, SECRET.removeprefix("whsec_")):
        assert unspoken not in everything


async def test_a_dead_worker_is_replaced(edge: Edge, claims: Claims) -> None:
    """A worker that died is replaced by one that publishes."""
    await assert_that_only_a_good_call_comes_through(edge, claims)
    os.kill(edge.worker, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE_SECONDS):
        edge.worker = await edge.restarted_workers.get()
    await assert_that_only_a_good_call_comes_through(edge, claims)


async def test_without_pubsub_openai_comes_again(
    tmp_path: Path,
) -> None:
    """While Pub/Sub is away OpenAI is asked to come again; the call is published when it is back."""
    port = free_port()
    call = new_call("rtc_patient")
    where = f"127.0.0.1:{port}"
    async with running_edge(tmp_path, PUBSUB_EMULATOR_HOST=where, PUBLISH_TIMEOUT_SECONDS="1") as edge:
        nobody_there = await edge.deliver(call)
        assert nobody_there.error == (503, "publish_failed")
        assert nobody_there.headers["Retry-After"] == "5"
        assert edge.logs[-1]["severity"] == "ERROR"
        assert edge.logs[-1]["call_id"] == "rtc_patient"
        async with pubsub(port) as (host_port, claims):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while "NotFound" not in edge.logs[-1]["message"]:  # the topic: Pub/Sub is there again, and says no
                    assert (await edge.deliver(call)).error == (503, "publish_failed")
            await create_topic(host_port)
            assert (await edge.deliver(call)).outcome == (200, "published")
            assert await claims.next_call_id() == "rtc_patient"
            await assert_that_only_a_good_call_comes_through(edge, claims)


async def test_a_silent_pubsub_holds_nobody_up(tmp_path: Path) -> None:
    """A Pub/Sub that never answers is waited for as long as the setting says, and no longer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        async with (
            running_edge(tmp_path, PUBSUB_EMULATOR_HOST=where, PUBLISH_TIMEOUT_SECONDS="15") as patient,
            running_edge(tmp_path, PUBSUB_EMULATOR_HOST=where, PUBLISH_TIMEOUT_SECONDS="0.5") as quick,
        ):
            waiting = asyncio.create_task(patient.deliver(new_call()), name="patient")
            assert (await quick.deliver(new_call())).error == (503, "publish_failed")
            assert not waiting.done()
            assert (await waiting).error == (503, "publish_failed")


async def test_a_missing_setting_is_one_line(tmp_path: Path) -> None:
    """A missing setting ends the process at start, in one line."""
    process = await asyncio.create_subprocess_exec(
        *FROM_REPOSITORY,
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "CALLS_TOPIC": "calls",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert process.returncode == 1
    [line] = stderr.decode().splitlines()
    assert line.startswith("The function cannot start: set these environment variables: OPENAI_WEBHOOK_SECRET: ")
