"""Calls from browsers, by relay or by registration (openai-realtime.md#calls-from-browsers).

    relay           offer ─► edge ─► OpenAI makes the call ─► notice published ─► answer to the browser
    registration    browser ─► OpenAI with an ephemeral key ─► call id to the edge ─► notice published

Each needs a token of the application's own backend (`tokens`), whose claims become the notice's `context`. Requests
come in as plain data; `main` has the HTTP around it.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from function.concurrency import ConcurrencyLimit
from function.errors import OpenAIError, RequestError, SettingsError, UnavailableError
from function.notice import CallNotice
from function.openai import OpenAI, WebrtcCall, is_webrtc_call_id
from function.rotating_secrets import token_secrets
from function.tokens import PublishedKeys, SharedSecrets, Tokens
from function.webhook import valid_traceparent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from function.openai import ClientSecret
    from function.publisher import Publisher
    from function.settings import Settings
    from function.tokens import Claims

CLIENT_SECRET_SECONDS = 60  # to begin a call with it; the call itself may last longer
MAX_OFFER_BYTES = 64 * 1024
MAX_REGISTRATION_BYTES = 4 * 1024
_EPHEMERAL_KEY = re.compile(r"ek_[A-Za-z0-9_-]{1,500}")

Session = dict[str, Any]


class Registration(BaseModel):
    """The body of a registration."""

    model_config = ConfigDict(extra="forbid")

    client_secret: SecretStr | None = None
    """The ephemeral key that made the call: the project's own key may not attach (openai-realtime.md#which-key)."""


class BrowserCalls:
    """Makes and registers browsers' calls.

    Args:
        tokens: Checks who is calling.
        sessions: The agents' sessions by name, as `sideband sessions` writes them.
        openai: Makes the calls and the ephemeral keys.
        publisher: Takes the notices.
        max_waiting: How many browsers may wait for OpenAI at once.
    """

    def __init__(
        self, tokens: Tokens, sessions: Mapping[str, Session], openai: OpenAI, publisher: Publisher, *, max_waiting: int
    ) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._openai = openai
        self._publisher = publisher
        self._limit = ConcurrencyLimit("OpenAI", max_waiting)

    def authorise(self, headers: Mapping[str, str]) -> Claims:
        """Check the request's token; returns its claims. Headers have lower-case names.

        Raises:
            RequestError: 401, there is no good token.
        """
        return self._tokens.check(headers)

    def relay(
        self, claims: Claims, offer: bytes, headers: Mapping[str, str], *, browser_is_gone: Callable[[], bool]
    ) -> WebrtcCall:
        """Make the call at OpenAI and publish it.

        A call that can't be published is hung up.

        Raises:
            RequestError: 400, 403 or 409; no call was made.
            UnavailableError: OpenAI or Pub/Sub failed; no call is left behind.
        """
        session = self._session(claims)
        if not offer.startswith(b"v=0"):
            raise RequestError(HTTPStatus.BAD_REQUEST, "invalid_offer", "the body is not an SDP offer")
        with self._tokens.use(claims), self._limit.slot():
            try:
                call = self._openai.create_call(offer, session, safety_identifier=_safety_identifier(claims))
            except OpenAIError as error:
                if error.openai_status == HTTPStatus.BAD_REQUEST:
                    raise RequestError(
                        HTTPStatus.BAD_REQUEST, "offer_refused", "OpenAI refused the offer or the session"
                    ) from error
                raise
            try:
                _check_browser_waits(call, browser_is_gone)
                self._publisher.publish(_notice(call.call_id, "relay", claims, headers))
            except BaseException:
                self._openai.hang_up(call.call_id)
                raise
        return call

    def register(self, claims: Claims, call_id: str, body: bytes, headers: Mapping[str, str]) -> str:
        """Publish a call that the browser made; returns the message's id.

        The backend vouches for the call by its id in the token, so nobody can register somebody else's. Registering
        again does no harm: the supervisors serve the first notice of a call.

        Raises:
            RequestError: 400 or 403; nothing was published.
            PublishError: Pub/Sub did not take the notice.
        """
        if not is_webrtc_call_id(call_id):
            raise RequestError(HTTPStatus.BAD_REQUEST, "invalid_call_id", "this is not the id of a call")
        if claims["jti"] != call_id:
            raise RequestError(
                HTTPStatus.FORBIDDEN, "not_your_call", "the token is for another call: its jti must be the call's id"
            )
        secret = _client_secret(body)
        return self._publisher.publish(_notice(call_id, "registration", claims, headers, secret))

    def create_client_secret(self, claims: Claims) -> ClientSecret:
        """Mint an ephemeral key with the agent's session.

        Raises:
            RequestError: 403 or 409; no key was made.
            UnavailableError: OpenAI failed.
        """
        session = self._session(claims)
        with self._tokens.use(claims), self._limit.slot():
            return self._openai.create_client_secret(
                session, expires_after_seconds=CLIENT_SECRET_SECONDS, safety_identifier=_safety_identifier(claims)
            )

    def _session(self, claims: Claims) -> Session:
        name = claims.get("agent")
        if name is None and len(self._sessions) == 1:
            return next(iter(self._sessions.values()))
        session = self._sessions.get(name) if isinstance(name, str) else None
        if session is None:
            raise RequestError(HTTPStatus.FORBIDDEN, "unknown_agent", "the token's agent claim names no agent of ours")
        return session


def browser_calls(settings: Settings, publisher: Publisher, *, max_waiting: int) -> BrowserCalls | None:
    """Set up browsers' calls; None, if the settings turn them off.

    Raises:
        SettingsError: a file that they name is of no use.
    """
    if not settings.sessions_file or not settings.openai_api_key:
        return None
    keys = PublishedKeys(settings.token_jwks_url) if settings.token_jwks_url else SharedSecrets(token_secrets(settings))
    return BrowserCalls(
        Tokens(keys, settings.token_audience),
        read_sessions(settings.sessions_file),
        OpenAI(
            settings.openai_api_key,
            settings.openai_base_url,
            timeout_seconds=settings.openai_timeout_seconds,
            connections=max_waiting,
        ),
        publisher,
        max_waiting=max_waiting,
    )


def read_sessions(file: Path) -> dict[str, Session]:
    """Read the agents' sessions: a JSON object of name and session.

    Raises:
        SettingsError: the file can't be read, or holds something else.
    """
    problem = f"SESSIONS_FILE={file} {{}}: write it with sideband sessions MODULE:ATTRIBUTE > {file}"
    try:
        sessions = json.loads(file.read_bytes())
    except OSError as error:
        raise SettingsError(problem.format(f"can't be read ({error.strerror})")) from None
    except ValueError:
        raise SettingsError(problem.format("is not JSON")) from None
    if not isinstance(sessions, dict) or not sessions or not all(map(_is_session, sessions.values())):
        raise SettingsError(problem.format("does not hold sessions by name, each with type and model"))
    return sessions


def _is_session(value: object) -> bool:
    return isinstance(value, dict) and value.get("type") == "realtime" and isinstance(value.get("model"), str)


def _check_browser_waits(call: WebrtcCall, browser_is_gone: Callable[[], bool]) -> None:
    if browser_is_gone():
        raise UnavailableError("browser_gone", "the browser left before its answer", call_id=call.call_id)


def _notice(
    call_id: str,
    source: Literal["relay", "registration"],
    claims: Claims,
    headers: Mapping[str, str],
    client_secret: str | None = None,
) -> CallNotice:
    now = time.time()
    return CallNotice(
        call_id=call_id,
        transport="webrtc",
        source=source,
        created_at=int(now),
        received_at=now,
        client_secret=client_secret,
        context=claims,
        traceparent=valid_traceparent(headers),
    )


def _client_secret(body: bytes) -> str | None:
    try:
        secret = Registration.model_validate_json(body).client_secret
    except ValidationError:
        secret = SecretStr("")
    if secret is None:
        return None
    if not _EPHEMERAL_KEY.fullmatch(secret.get_secret_value()):
        raise RequestError(HTTPStatus.BAD_REQUEST, "invalid_registration", 'send {} or {"client_secret": "ek_..."}')
    return secret.get_secret_value()


def _safety_identifier(claims: Claims) -> str:
    """Name the user to OpenAI's abuse detection, without saying who it is."""
    return hashlib.sha256(claims["sub"].encode()).hexdigest()
