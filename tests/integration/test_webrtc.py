"""Calls from browsers, from the request to the notice on Pub/Sub and the call at OpenAI."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import pytest_asyncio

from emulator.openai import Options, StandIn, serve
from function.notice import CallNotice
from tests.support.browser_world import API_KEY, OFFER, ORIGIN, OTHER_SESSION, SESSION, World, settings
from tests.support.edge_process import PATIENCE_SECONDS, running_edge
from tests.support.edge_pubsub import Claims, create_topic, pubsub
from tests.support.tokens import OTHER_TOKEN_SECRET, TOKEN_SECRET, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("webrtc")
    options = Options(api_keys=[API_KEY])
    async with pubsub() as (host_port, claims), serve(options=options) as openai:
        await create_topic(host_port)
        async with running_edge(folder, settings(folder, host_port, openai.base_url)) as edge:
            yield World(edge, claims, openai)


@pytest.fixture
def world(running: World) -> World:
    running.openai.forget_faults()
    return running


# By relay.


async def test_an_offer_makes_a_call(world: World) -> None:
    """An offer makes a call with the agent's session, and publishes it."""
    bearer = token(agent="mend", sub="user-9")
    began = time.time()
    answer = await world.offer(bearer, traceparent=TRACEPARENT, origin=ORIGIN)
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/sdp"
    call_id = answer.headers["Location"].removeprefix("/calls/")
    call = world.openai.calls[call_id]
    assert call.conversation
    assert call.conversation.session["instructions"] == OTHER_SESSION["instructions"]
    assert answer.text.startswith("v=0\r\n")
    assert answer.text.endswith("\r\n"), "the last newline counts: without it, Apple's WebRTC refuses the answer"

    message = await world.claims.next_message()
    assert dict(message.attributes) == {"schema": "1", "surface": "realtime", "transport": "webrtc"}
    notice = CallNotice.parse(message.data)
    assert (notice.call_id, notice.transport, notice.source) == (call_id, "webrtc", "relay")
    assert notice.context["sub"] == "user-9"
    assert notice.context["tier"] == "gold"
    assert notice.traceparent == TRACEPARENT
    assert notice.client_secret is None
    assert notice.received_at
    assert began <= notice.received_at <= time.time()


async def test_the_sdp_answer_is_passed_on_whole(tmp_path: Path) -> None:
    """The SDP answer is passed on byte for byte.

    Also what no parser would leave alone: trailing newlines, bare LF, spaces, bytes that are not UTF-8.
    """
    odd = b"v=0\r\ns= \xff\xfe \n\na=x\r\n\r\n\n"

    async def openai(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"--\r\n")
        writer.write(
            b"HTTP/1.1 201 Created\r\nLocation: /v1/realtime/calls/rtc_u0_odd\r\nContent-Type: text/plain\r\n"
            b"Content-Length: %d\r\n\r\n" % len(odd) + odd
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(openai, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server, pubsub() as (host_port, _):
        await create_topic(host_port)
        environment = settings(tmp_path, host_port, f"http://127.0.0.1:{port}/v1")
        async with running_edge(tmp_path, environment) as edge:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(edge.url.rpartition(":")[2]))
            writer.write(raw_offer(token(agent="sell")))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 201 " in head
            assert b"Location: /calls/rtc_u0_odd" in head
            assert await reader.readexactly(len(odd)) == odd
            writer.close()


def raw_offer(bearer: str) -> bytes:
    head = (
        f"POST /calls HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {bearer}\r\n"
        f"Content-Type: application/sdp\r\nContent-Length: {len(OFFER)}\r\n\r\n"
    )
    return (head + OFFER).encode()


async def test_openai_gets_a_hash_of_the_user(world: World) -> None:
    """OpenAI gets a hash of the user, and never who it is."""
    assert (await world.offer(token(agent="sell", sub="mail@shop.example"))).status == 201
    await world.claims.next_message()
    assert world.calls_of("create")[-1]["safety_identifier"] == hashlib.sha256(b"mail@shop.example").hexdigest()
    assert "mail@shop.example" not in json.dumps(world.edge.log_lines)


async def test_a_refused_offer_frees_the_token(world: World) -> None:
    """When OpenAI refuses the offer no call is made, and the token is good again."""
    bearer = token(agent="sell")
    world.openai.inject({"fault": "rest", "operation": "create", "status": 400})
    assert (await world.offer(bearer)).error == (400, "offer_refused")
    for status in (401, 429, 500):
        world.openai.inject({"fault": "rest", "operation": "create", "status": status})
        failed = await world.offer(bearer)
        assert failed.error == (502, "openai_failed")
        assert failed.headers["Retry-After"] == "5"
    await world.assert_that_nothing_was_published()
    assert (await world.offer(bearer)).status == 201
    await world.claims.next_message()


async def test_a_silent_openai_is_a_timeout(world: World) -> None:
    """An OpenAI that never answers holds the browser up for a bounded time: it is told before the test gives up."""
    world.openai.inject({"fault": "rest", "operation": "create", "status": 503, "hang_seconds": 2 * PATIENCE_SECONDS})
    assert (await world.offer()).error == (504, "openai_failed")
    await world.assert_that_nothing_was_published()


async def test_an_unpublished_call_is_hung_up(tmp_path: Path) -> None:
    """When publishing fails the call is hung up, and the browser told to try again.

    No Pub/Sub listens; OpenAI's hangup fails twice before it works.
    """
    options = Options(api_keys=[API_KEY])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        async with (
            serve(options=options) as openai,
            running_edge(tmp_path, settings(tmp_path, where, openai.base_url)) as edge,
        ):
            world = World(edge, Claims.__new__(Claims), openai)
            openai.inject({"fault": "rest", "operation": "hangup", "status": 500, "times": 2})
            answer = await world.offer(origin=ORIGIN)
            assert answer.error == (503, "publish_failed")
            assert answer.headers["Retry-After"] == "5"
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
            [call] = openai.calls.values()
            assert await call.ended() == "hangup"
            assert not world.living


async def test_race_of_an_offer_with_leaving(world: World) -> None:
    """A browser that leaves midway leaves no call behind.

    Race: the browser closes its connection while OpenAI makes the call.
    """
    before = set(world.openai.calls)
    after = len(world.openai.log) and list(world.openai.log)[-1].sequence
    world.openai.inject({"fault": "rest", "operation": "create", "hang_seconds": 1})
    _, writer = await asyncio.open_connection("127.0.0.1", int(world.edge.url.rpartition(":")[2]))
    writer.write(raw_offer(token(agent="sell")))
    await writer.drain()
    await world.openai.log.wait_for(lambda entry: entry.type == "create" and entry.kind == "rest", after=after)
    writer.close()
    await writer.wait_closed()
    [call_id] = set(world.openai.calls) - before
    assert await world.openai.calls[call_id].ended(PATIENCE_SECONDS) == "hangup"
    await world.assert_that_nothing_was_published()


async def test_a_broken_answer_leaves_no_call(tmp_path: Path) -> None:
    """An answer of OpenAI's that breaks off leaves no call behind.

    The head names the call, and then the connection is lost: the call is hung up.
    """
    hung_up: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def openai(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if b"/hangup" in line:
            hung_up.set_result(line)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            await reader.readuntil(b"--\r\n")
            writer.write(
                b"HTTP/1.1 201 Created\r\nLocation: /v1/realtime/calls/rtc_1\r\nContent-Length: 900\r\n\r\nv=0"
            )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(openai, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server:
        environment = settings(tmp_path, "127.0.0.1:1", f"http://127.0.0.1:{port}/v1")
        async with running_edge(tmp_path, environment) as edge:
            world = World(edge, Claims.__new__(Claims), StandIn.__new__(StandIn))
            assert (await world.offer()).error == (502, "openai_failed")
            line = await asyncio.wait_for(hung_up, PATIENCE_SECONDS)
            assert line.startswith(b"POST /v1/realtime/calls/rtc_1/hangup ")


# By registration.


async def test_a_client_secret_hides_the_session(world: World) -> None:
    """A client secret has the agent's session, and tells the browser nothing of it."""
    began = time.time()
    answer = await world.post("/client-secrets", token(agent="sell"), origin=ORIGIN)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    secret = json.loads(answer.text)
    assert set(secret) == {"value", "expires_at"}
    assert secret["value"].startswith("ek_")
    assert began < secret["expires_at"] <= time.time() + 60
    session = world.openai.secret_session(secret["value"])
    assert session
    assert session["instructions"] == SESSION["instructions"]


async def test_a_browsers_own_call_is_published(world: World) -> None:
    """A browser's own call is published with its key."""
    call_id = f"rtc_{uuid4().hex}"
    answer = await world.register(call_id, token(jti=call_id), {"client_secret": "ek_abc-1"})
    assert answer.outcome == (200, "published")
    notice = await world.claims.next_notice()
    assert (notice.call_id, notice.transport, notice.source) == (call_id, "webrtc", "registration")
    assert notice.client_secret == "ek_abc-1"
    assert notice.context["jti"] == call_id
    assert "ek_abc-1" not in "".join(world.edge.log_lines)


async def test_another_ones_call_is_refused(world: World) -> None:
    """Nobody can register somebody else's call."""
    mine, yours = f"rtc_{uuid4().hex}", f"rtc_{uuid4().hex}"
    assert (await world.register(yours, token(jti=mine))).error == (403, "not_your_call")
    assert (await world.register(yours, token())).error == (403, "not_your_call")
    await world.assert_that_nothing_was_published()


@pytest.mark.parametrize(
    "path", ["..%2fadmin", "rtc_1%3Fx=1", "rtc%201", "rtc_1%00", "call_1", "rtc_", "rtc_" + "a" * 300]
)
async def test_a_path_that_names_no_call(world: World, path: str) -> None:
    """A path that names no call is refused."""
    status, _ = (await world.register(path, token(jti="rtc_1"))).error
    assert status in {400, 404}
    await world.assert_that_nothing_was_published()


@pytest.mark.parametrize(
    "body", [{"client_secret": "sk-project"}, {"client_secret": 5}, {"other": 1}, ["ek_1"], "ek_1"]
)
async def test_only_an_ephemeral_key_is_taken(world: World, body: object) -> None:
    """A registration holds an ephemeral key or nothing."""
    call_id = f"rtc_{uuid4().hex}"
    assert (await world.register(call_id, token(jti=call_id), body)).error == (400, "invalid_registration")


# Who may.

BAD_TOKENS: dict[str, dict[str, Any]] = {
    "of somebody else's key": {"key": OTHER_TOKEN_SECRET},
    "for another audience": {"aud": "elsewhere"},
    "without an audience": {"aud": None},
    "expired": {"exp": int(time.time()) - 60},
    "without an end": {"exp": None},
    "good for a day": {"exp": int(time.time()) + 86_400},
    "not good yet": {"nbf": int(time.time()) + 600},
    "of nobody": {"sub": None},
    "of an empty somebody": {"sub": ""},
    "of a number": {"sub": 17},
    "without an id": {"jti": None},
    "with an id too long": {"jti": "j" * 257},
    "unsigned": {"key": None, "algorithm": "none"},
    "signed by another algorithm": {"algorithm": "HS512"},
    "with half a surrogate pair": {"name": "\ud800"},
}


@pytest.mark.parametrize("case", BAD_TOKENS)
async def test_bad_tokens_are_refused(world: World, case: str) -> None:
    """A bad token makes no call."""
    before = len(world.openai.calls)
    refused = await world.offer(token(**{"agent": "sell"} | BAD_TOKENS[case]))
    assert refused.error == (401, "invalid_token")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert len(world.openai.calls) == before


@pytest.mark.parametrize("path", ["/calls", "/calls/rtc_1", "/client-secrets"])
@pytest.mark.parametrize("header", [{}, {"Authorization": "Basic dTpw"}, {"Authorization": "Bearer"}])
async def test_without_a_token_there_is_no_call(world: World, path: str, header: dict[str, str]) -> None:
    """Without a token there is no call."""
    assert (await world.edge.request("POST", path, OFFER.encode(), header)).error == (401, "missing_token")


async def test_a_token_makes_one_call(world: World) -> None:
    """A token is good for one call."""
    bearer = token(agent="sell")
    assert (await world.offer(bearer)).status == 201
    await world.claims.next_message()
    assert (await world.offer(bearer)).error == (409, "token_used")
    assert (await world.post("/client-secrets", bearer)).error == (409, "token_used")
    await world.assert_that_nothing_was_published()


async def test_race_of_offers_with_one_token(world: World) -> None:
    """Of one token's offers at the same time one makes a call. Race: a token is used eight times at once."""
    bearer = token(agent="sell")
    answers = await asyncio.gather(*(world.offer(bearer) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7
    await world.claims.next_message()
    await world.assert_that_nothing_was_published()


@pytest.mark.parametrize("agent", [None, "nobody", 5, ["sell"]])
async def test_the_agent_must_be_one_of_ours(world: World, agent: object) -> None:
    """A token that names no agent of ours makes no call."""
    assert (await world.offer(token(agent=agent))).error == (403, "unknown_agent")


async def test_only_configured_origins_may_call(world: World) -> None:
    """Only configured origins may call, and they can read the answer."""
    for origin in (ORIGIN, "http://127.0.0.1:8000"):
        asked = await world.edge.request("OPTIONS", "/calls", headers={"Origin": origin})
        assert asked.status == 204
        assert asked.headers["Access-Control-Allow-Origin"] == origin
        assert asked.headers["Vary"] == "Origin"
        assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    refused = await world.offer("not a token", origin=ORIGIN)
    assert refused.status == 401
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Location" in refused.headers["Access-Control-Expose-Headers"]
    for origin in (
        "https://evil.example",
        "null",
        f"{ORIGIN}.evil.example",
        ORIGIN.upper(),
        "https://shop.example:443",
    ):
        for method in ("OPTIONS", "POST"):
            answer = await world.edge.request(method, "/calls", headers={"Origin": origin})
            assert answer.error == (403, "origin_not_allowed")
            assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("", "application/sdp", 400),
        ("hello", "application/sdp", 400),
        (OFFER, "text/plain", 415),
        (OFFER + "a" * 65_536, "application/sdp", 413),
    ],
)
async def test_what_is_no_offer_is_refused(world: World, body: str, content_type: str, status: int) -> None:
    """What is no SDP offer is refused."""
    answer = await world.post("/calls", token(agent="sell"), body, content_type=content_type)
    assert answer.status == status


async def test_other_methods_are_told_the_served(world: World) -> None:
    """Other methods are told those that are served."""
    for path in ("/calls", "/calls/rtc_1", "/client-secrets"):
        answer = await world.edge.request("GET", path)
        assert answer.error == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "OPTIONS, POST"


async def test_no_secret_was_logged(world: World) -> None:
    """At the end no secret was logged, and nothing crashed."""
    everything = "\n".join(world.edge.log_lines)
    for unspoken in (API_KEY, TOKEN_SECRET, "ek_abc-1", "user-17"):
        assert unspoken not in everything
    assert "Traceback" not in everything
