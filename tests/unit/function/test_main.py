"""The edge as a whole: what a cold start imports, and what hostile requests do to it."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import functions_framework
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from werkzeug.test import create_environ, run_wsgi_app

from tests.support.deliveries import OTHER_SECRET, SECRET, incoming, signed
from tests.support.edge_process import ROOT
from tests.support.tokens import OTHER_TOKEN_SECRET, TOKEN_SECRET, token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask

NOT_NEEDED = {
    "supervisor", "openai", "httpx", "aiohttp", "google.cloud.pubsub_v1", "uvicorn",
    "function.webhook_admin",
}  # fmt: skip
INPUTS = 2000
PATHS = ["/", "/webhooks/openai", "/calls", "/calls/rtc_1", "/calls/../x", "/client-secrets", "/webhooks/openai/"]
METHODS = ["POST", "POST", "POST", "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "post", "\xff"]
LATIN = st.text(st.characters(max_codepoint=255), max_size=60)
NAMES = st.sampled_from(
    [
        "webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "content-length", "content-encoding",
        "transfer-encoding", "authorization", "origin", "traceparent", "host", "expect", "cookie", "x-forwarded-for",
    ]
)  # fmt: skip
VALUES = LATIN | st.sampled_from(
    [
        "gzip", "br", "identity", "chunked", "-1", "99999999999999999999", "0", "application/json", "application/sdp",
        "application/json; charset=utf-7", "a" * 9000, "null", "https://shop.example", "Bearer ", "Bearer a.b.c",
        "v1,\r\nX: y", "\x00", "100-continue", "\u0661\u0667", "1e9", "wh_1",
    ]
)  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)
BODIES = (
    st.binary(max_size=300)
    | JSON.map(lambda document: json.dumps(document).encode())
    | st.sampled_from(
        [
            b"v=0\r\n", b"[" * 50_000, b'{"a":' * 50_000, b"9" * 20_000, b"\xef\xbb\xbf{}", b'"\\ud800"',
            b"\x1f\x8b\x08",
            b"\x00" * 1000, b"a" * 300_000, b'{"type":"x","type":"y"}', incoming(created_at=1, call_id="../../x"),
        ]
    )
)  # fmt: skip
BAD_TOKENS: list[dict[str, Any]] = [{"key": OTHER_TOKEN_SECRET}, {"aud": "x"}, {"exp": 1}, {"jti": None}]
MUTATIONS = st.sampled_from(["body", "cut", "id", "timestamp", "signature", "secret", "old", "none of v1", "doubled"])


def test_a_cold_start_is_light() -> None:
    """A cold start imports neither the supervisor, nor OpenAI's client, nor the webhook command."""
    environment = {"OPENAI_WEBHOOK_SECRET": SECRET, "GOOGLE_CLOUD_PROJECT": "shop", "CALLS_TOPIC": "calls"}
    code = "import function.main, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert not NOT_NEEDED & set(done.stdout.split())


class Edge:
    """The edge as a WSGI application in this process, and what it did."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.published: list[object] = []
        self.errors: list[str] = []
        self.statuses = Counter[int]()

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes) -> int:
        environ = create_environ(path="/", method=method, input_stream=io.BytesIO(body))
        environ |= {"PATH_INFO": path, "RAW_URI": path, "CONTENT_LENGTH": str(len(body))}
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
        answer, status, _ = run_wsgi_app(self.app, environ, buffered=True)
        b"".join(answer)
        code = int(status.split()[0])
        self.statuses[code] += 1
        return code


class _Errors(logging.Handler):
    def __init__(self, edge: Edge) -> None:
        super().__init__(logging.ERROR)
        self._edge = edge

    def emit(self, record: logging.LogRecord) -> None:
        self._edge.errors.append(record.getMessage())


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Edge]:
    (tmp_path / "sessions.json").write_text('{"sell": {"type": "realtime", "model": "gpt-realtime-2.1"}}')
    for name, value in {
        "OPENAI_WEBHOOK_SECRET": SECRET,
        "GOOGLE_CLOUD_PROJECT": "demo-project",
        "CALLS_TOPIC": "calls",
        "SESSIONS_FILE": str(tmp_path / "sessions.json"),
        "OPENAI_API_KEY": "sk-project",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "TOKEN_SECRET": TOKEN_SECRET,
        "ALLOWED_ORIGINS": "https://shop.example",
        "THREADS": "4",
    }.items():
        monkeypatch.setenv(name, value)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    app = functions_framework.create_app("edge", str(ROOT / "function/main.py"))
    running = Edge(app)
    monkeypatch.setattr(sys.modules["main"].EDGE.publisher, "publish", running.published.append)
    root.handlers = [_Errors(running)]
    yield running
    root.handlers, root.level = before


def mutated(mutation: str, position: int) -> tuple[dict[str, str], bytes]:
    """A delivery that would be good but for one thing."""
    now = int(time.time())
    body = incoming(created_at=now)
    headers = signed(body, timestamp=now)
    match mutation:
        case "body":
            position %= len(body)
            body = body[:position] + bytes([body[position] ^ 1]) + body[position + 1 :]
        case "cut":
            body = body[: position % len(body)]
        case "id":
            headers["webhook-id"] += "x"
        case "timestamp":
            headers["webhook-timestamp"] = str(now + 1)
        case "signature":
            good = headers["webhook-signature"]
            position = 3 + position % (len(good) - 4)
            headers["webhook-signature"] = (
                good[:position] + ("A" if good[position] != "A" else "B") + good[position + 1 :]
            )
        case "secret":
            headers = signed(body, timestamp=now, secret=OTHER_SECRET)
        case "old":
            headers = signed(body, timestamp=now - 400)
        case "doubled":
            headers["webhook-id"] = f"{headers['webhook-id']},{headers['webhook-id']}"
        case _:
            headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")
    return headers, body


def test_hostile_requests_are_refused(edge: Edge, record_property: Callable[[str, object], None]) -> None:
    """Hostile requests are refused, and neither publish anything nor log an error.

    They have random methods, paths, heads and bodies, or are deliveries and tokens that are nearly good.
    """
    assert edge.send("GET", "/", {}, b"") == 200

    @seed(20261120)
    @settings(max_examples=INPUTS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def attack(data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(["random", "nearly good delivery", "nearly good token"]))
        headers: dict[str, str] = {}
        body, path, method = b"", data.draw(st.sampled_from(PATHS)), "POST"
        if kind == "random":
            method, body = data.draw(st.sampled_from(METHODS)), data.draw(BODIES)
            path = data.draw(st.just(path) | LATIN.map(lambda text: f"/{text}"))
        elif kind == "nearly good delivery":
            path = "/webhooks/openai"
            headers, body = mutated(data.draw(MUTATIONS), data.draw(st.integers(0, 10_000)))
        else:
            headers = {
                "authorization": f"Bearer {token(**data.draw(st.sampled_from(BAD_TOKENS)))}",
                "content-type": "application/sdp",
            }
            path, body = data.draw(st.sampled_from(PATHS[2:])), b"v=0\r\n"
        more = data.draw(st.dictionaries(NAMES, VALUES, max_size=4)) if kind != "nearly good delivery" else {}
        status = edge.send(method, path, headers | more if kind == "random" else more | headers, body)
        assert status < 500
        assert kind == "random" or status >= 400
        assert not edge.errors
        assert not edge.published

    attack()
    inputs = edge.statuses.total() - 1
    record_property(
        "figures", f"fuzzing the edge: {inputs} inputs, 0 failures, by status {dict(sorted(edge.statuses.items()))}"
    )
    assert inputs >= INPUTS
