"""The tokens that let a browser call: JWTs of the application's backend.

    {"aud": "sideband", "sub": "user-17", "exp": <in some minutes>, "jti": "<unique>", "agent": "...", ...}

All claims travel as the notice's `context`. They are all that a tool may trust about who is calling.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import jwt

from function.errors import RequestError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from function.rotating_secrets import RotatingSecrets

Claims = dict[str, Any]

MAX_LIFETIME_SECONDS = 900
LEEWAY_SECONDS = 5
MAX_ID_LENGTH = 256
JWKS_FRESH_SECONDS = 600
JWKS_PAUSE_SECONDS = 30
JWKS_TIMEOUT_SECONDS = 3
JWKS_DOWN_SECONDS = 5  # how long nobody tries again after a failure


class Keys(Protocol):
    """The keys that signatures are checked with."""

    algorithm: str

    def for_token(self, token: str) -> Sequence[Any]:
        """Return the keys that may have signed this token."""


class SharedSecrets:
    """HS256: secrets that backend and edge share, several during a rotation."""

    algorithm = "HS256"

    def __init__(self, secrets: RotatingSecrets) -> None:
        self._secrets = secrets

    def for_token(self, _token: str) -> Sequence[Any]:
        """Return the secrets that are good now."""
        return self._secrets.current()


class PublishedKeys:
    """RS256: the public keys that an identity provider publishes as a JWKS.

    For a key that is not known the set is fetched again, but never twice in 30 s, whatever keys people make up.
    """

    algorithm = "RS256"

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = jwt.PyJWKClient(
            url, lifespan=JWKS_FRESH_SECONDS, cooldown_duration=JWKS_PAUSE_SECONDS, timeout=JWKS_TIMEOUT_SECONDS
        )
        self._clock = clock
        self._down_until = 0.0
        self._lock = threading.Lock()

    def for_token(self, token: str) -> Sequence[Any]:
        """Return the key that the token names.

        Raises:
            UnavailableError: the keys can't be fetched.
            jwt.PyJWTError: the token names no key, or none that is published.
        """
        with self._lock:  # one fetch for all who wait, and one failure
            if self._clock() < self._down_until:
                raise UnavailableError("keys_unavailable", f"{self._client.uri} failed just now")
            try:
                return [self._client.get_signing_key_from_jwt(token).key]
            except (jwt.PyJWKClientConnectionError, OSError, ValueError) as error:
                self._down_until = self._clock() + JWKS_DOWN_SECONDS
                raise UnavailableError("keys_unavailable", f"{self._client.uri}: {error}") from error


class Tokens:
    """Checks tokens, and lets each be used once.

    Which tokens were used is known to this process alone: it keeps nothing elsewhere. A token's short life bounds what
    the other instances would allow.
    """

    def __init__(self, keys: Keys, audience: str, now: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._audience = audience
        self._now = now
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}

    def check(self, headers: Mapping[str, str]) -> Claims:
        """Check the bearer token; returns its claims. Headers have lower-case names.

        Raises:
            RequestError: 401 when there is none, or it is not good.
            UnavailableError: its signature can't be checked now.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _refused("missing_token", "send Authorization: Bearer and a token")
        claims = self._decode(token.strip())
        for name in ("sub", "jti"):
            if not 0 < len(claims[name]) <= MAX_ID_LENGTH:
                raise _refused("invalid_token", f"{name} must have 1 to {MAX_ID_LENGTH} characters")
        if claims["exp"] - self._now() > MAX_LIFETIME_SECONDS:
            raise _refused("invalid_token", f"exp is over {MAX_LIFETIME_SECONDS} s ahead: make tokens short-lived")
        try:
            json.dumps(claims, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise _refused("invalid_token", "a claim is not valid Unicode") from None
        return claims

    def _decode(self, token: str) -> Claims:
        problem: jwt.PyJWTError = jwt.InvalidSignatureError("it is signed by a key that is not known here")
        try:
            for key in self._keys.for_token(token):
                try:
                    return jwt.decode(
                        token,
                        key,
                        algorithms=[self._keys.algorithm],
                        audience=self._audience,
                        leeway=LEEWAY_SECONDS,
                        options={"require": ["aud", "exp", "sub", "jti"], "enforce_minimum_key_length": True},
                    )
                except jwt.InvalidSignatureError as error:
                    problem = error
        except jwt.PyJWTError as error:
            problem = error
        raise _refused("invalid_token", f"the token is not good: {' '.join(str(problem).split())[:200]}")

    @contextmanager
    def use(self, claims: Claims) -> Iterator[None]:
        """Use a token for the block; if it fails, the token stays unused.

        Raises:
            RequestError: 409, it was used before.
        """
        token_id = claims["jti"]
        with self._lock:
            now = self._now()
            if self._used.get(token_id, 0) > now:
                raise RequestError(HTTPStatus.CONFLICT, "token_used", "this token was used before: get a new one")
            if token_id not in self._used:
                self._forget_expired(now)
            self._used[token_id] = claims["exp"] + LEEWAY_SECONDS
        try:
            yield
        except BaseException:
            with self._lock:
                self._used.pop(token_id, None)
            raise

    def _forget_expired(self, now: float) -> None:
        """Forget expired tokens, in the order of their use.

        One that was used later and expires sooner stays a little longer.
        """
        while self._used and next(iter(self._used.values())) <= now:
            del self._used[next(iter(self._used))]


def _refused(code: str, message: str) -> RequestError:
    return RequestError(HTTPStatus.UNAUTHORIZED, code, message, {"WWW-Authenticate": "Bearer"})
