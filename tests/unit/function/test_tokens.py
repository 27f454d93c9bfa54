"""Tokens: whose are good, how often, and with which keys."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from function.errors import RequestError, UnavailableError
from function.rotating_secrets import RotatingSecrets
from function.settings import check_token_secret
from function.tokens import JWKS_DOWN_SECONDS, PublishedKeys, SharedSecrets, Tokens
from tests.support.tokens import OTHER_TOKEN_SECRET, TOKEN_SECRET, claims, token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def tokens(secrets: str = TOKEN_SECRET, clock: Callable[[], float] = time.time) -> Tokens:
    return Tokens(SharedSecrets(RotatingSecrets(SecretStr(secrets), None, check_token_secret)), "sideband", clock)


def check(of: Tokens, bearer: str) -> dict[str, Any]:
    return of.check({"authorization": f"Bearer {bearer}"})


def test_all_claims_come_back() -> None:
    """A good token gives all its claims."""
    assert check(tokens(), token(agent="sell", cart=[1, {"a": None}]))["cart"] == [1, {"a": None}]


def test_two_secrets_in_a_rotation() -> None:
    """During a rotation, tokens by either secret are good."""
    both = tokens(f"{OTHER_TOKEN_SECRET} {TOKEN_SECRET}")
    for key in (TOKEN_SECRET, OTHER_TOKEN_SECRET):
        assert check(both, token(key=key))["sub"] == "user-17"


def test_one_audience_of_several() -> None:
    """The audience may be one of several in the token."""
    assert check(tokens(), token(aud=["elsewhere", "sideband"]))["sub"] == "user-17"


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}"))
def test_what_is_no_token_is_refused(text: str) -> None:
    """What is no token is refused with 401, in one line."""
    with pytest.raises(RequestError) as refused:
        check(tokens(), text)
    assert refused.value.status == 401
    assert "\n" not in str(refused.value)


def test_a_token_is_good_once() -> None:
    """A token is good for one use; if that fails, it is good again."""
    once = tokens()
    used = claims()
    with once.use(used):
        pass
    with pytest.raises(RequestError, match="used before"), once.use(used):
        pass
    unlucky = claims()
    with pytest.raises(OSError), once.use(unlucky):
        raise OSError
    with once.use(unlucky):
        pass


def test_expired_tokens_are_forgotten() -> None:
    """Used tokens are forgotten when they have expired, so that memory does not grow."""
    now = [1000.0]
    once = tokens(clock=lambda: now[0])
    for number in range(1000):
        with once.use({"jti": str(number), "exp": 1300}):
            pass
    now[0] = 1306
    with once.use({"jti": "next", "exp": 1600}):
        pass
    assert len(once._used) == 1


# Published keys.


class KeyServer:
    """Publishes keys as a JWKS, and counts who asks."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.status = 200
        self.asked = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                body = json.dumps({"keys": [server.public(key_id) for key_id in server.keys]}).encode()
                self.send_response(server.status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/jwks.json"

    def new_key(self, key_id: str) -> rsa.RSAPrivateKey:
        self.keys[key_id] = rsa.generate_private_key(65537, 2048)
        return self.keys[key_id]

    def public(self, key_id: str) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.keys[key_id].public_key(), as_dict=True)
        return {**public, "kid": key_id, "use": "sig", "alg": "RS256"}


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    server = KeyServer()
    thread = threading.Thread(target=server.http.serve_forever, name="key server")
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def test_rs256_by_a_published_key(key_server: KeyServer) -> None:
    """A token signed by a published key is good; the keys are fetched once."""
    key = key_server.new_key("k1")
    published = Tokens(PublishedKeys(key_server.url), "sideband")
    for _ in range(3):
        assert check(published, token(key=key, algorithm="RS256", key_id="k1"))["sub"] == "user-17"
    assert key_server.asked == 1


def test_a_public_key_signs_nothing(key_server: KeyServer) -> None:
    """A token signed by HS256 with the public key for a secret, an old trick, is refused."""
    key_server.new_key("k1")
    published = Tokens(PublishedKeys(key_server.url), "sideband")
    public = json.dumps(key_server.public("k1")).encode()
    signed = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "k1"}, claims()))
    forged = f"{signed}.{base64url(hmac.digest(public, signed.encode(), 'sha256'))}"
    with pytest.raises(RequestError) as refused:
        check(published, forged)
    assert refused.value.status == 401


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_made_up_key_ids(key_server: KeyServer) -> None:
    """Made-up ids of keys do not make us fetch the keys again and again."""
    key = key_server.new_key("k1")
    published = Tokens(PublishedKeys(key_server.url), "sideband")
    for number in range(50):
        with pytest.raises(RequestError):
            check(published, token(key=key, algorithm="RS256", key_id=f"made-up-{number}"))
    assert key_server.asked <= 2


def test_keys_that_can_not_be_fetched(key_server: KeyServer) -> None:
    """While the keys can't be fetched, few requests try; when they can, tokens are good again."""
    key = key_server.new_key("k1")
    now = [100.0]
    published = Tokens(PublishedKeys(key_server.url, lambda: now[0]), "sideband")
    good = token(key=key, algorithm="RS256", key_id="k1")
    key_server.status = 500
    for _ in range(20):
        with pytest.raises(UnavailableError):
            check(published, good)
    assert key_server.asked == 1
    key_server.status = 200
    now[0] += JWKS_DOWN_SECONDS
    assert check(published, good)["sub"] == "user-17"
