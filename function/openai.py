"""OpenAI's REST API as the edge uses it (openai-realtime.md#webhook-endpoints, openai-realtime.md#call-control).

Requests are bounded in time and size; only `hang_up` tries again.
"""

from __future__ import annotations

import json
import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import urllib3
from urllib3.fields import RequestField

from function.errors import OpenAIError
from function.notice import CALL_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

logger = logging.getLogger(__name__)

WEBRTC_PREFIX = "rtc_"
MAX_ANSWER_BYTES = 256 * 1024
MAX_MESSAGE_LENGTH = 300
HANGUP_TRIES = 4
HANGUP_PAUSE_SECONDS = 0.25
USER_AGENT = "sideband-function"

JSON = dict[str, Any]


class Answer(NamedTuple):
    """What OpenAI answered."""

    status: int
    location: str
    body: bytes


class WebrtcCall(NamedTuple):
    """A WebRTC call that OpenAI has made."""

    call_id: str
    sdp_answer: bytes


class ClientSecret(NamedTuple):
    """An ephemeral key for a browser."""

    value: str
    expires_at: int


class OpenAI:
    """OpenAI's REST API with the project's key, from any thread.

    Every method raises `OpenAIError` when OpenAI refuses, fails, or has not answered within `timeout_seconds`.
    """

    def __init__(self, api_key: SecretStr, base_url: str, *, timeout_seconds: float, connections: int = 8) -> None:
        self._api_key = api_key
        self._base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._http = urllib3.PoolManager(maxsize=connections, retries=False)

    def create_call(self, sdp_offer: bytes, session: Mapping[str, Any], *, safety_identifier: str) -> WebrtcCall:
        """Make a WebRTC call from a browser's offer."""
        body, content_type = urllib3.encode_multipart_formdata(
            [
                _part("sdp", sdp_offer, "application/sdp"),
                _part("session", json.dumps(session).encode(), "application/json"),
            ]
        )
        headers = {"Content-Type": content_type, "OpenAI-Safety-Identifier": safety_identifier}
        try:
            answer = self._request("POST", "/realtime/calls", body, headers)
        except OpenAIError as error:
            if call_id := _call_id(error.location):  # the call was made, and the answer broke off
                self.hang_up(call_id)
            raise
        call_id = _call_id(answer.location)
        if call_id is None:
            raise OpenAIError("OpenAI's answer names no call in its Location header", openai_status=answer.status)
        return WebrtcCall(call_id, answer.body)

    def create_client_secret(
        self, session: Mapping[str, Any], *, expires_after_seconds: int, safety_identifier: str
    ) -> ClientSecret:
        """Mint an ephemeral key that makes calls with this session.

        It expires after 10 to 7200 s.
        """
        body = {"expires_after": {"anchor": "created_at", "seconds": expires_after_seconds}, "session": session}
        headers = {"OpenAI-Safety-Identifier": safety_identifier}
        match self.request_json("POST", "/realtime/client_secrets", body, headers):
            case {"value": str(value), "expires_at": int(expires_at)}:
                return ClientSecret(value, expires_at)
        raise OpenAIError("OpenAI's answer holds no client secret", openai_status=HTTPStatus.OK)

    def hang_up(self, call_id: str) -> None:
        """Hang up a call; a failure is tried again, and then logged.

        That the call is gone already (404, 410) is success.
        """
        problem = ""
        for attempt in range(HANGUP_TRIES):
            time.sleep(HANGUP_PAUSE_SECONDS * attempt)
            try:
                self._request("POST", f"/realtime/calls/{quote(call_id, safe='')}/hangup", b"", {})
            except OpenAIError as error:
                if error.openai_status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
                    break
                problem = str(error)
            else:
                break
        else:
            logger.critical("A call nobody will take could not be hung up: %s", problem, extra={"call_id": call_id})
            return
        logger.info("Hung up a call that nobody would have taken", extra={"call_id": call_id})

    def request_json(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> JSON:
        """Make a request whose body and answer are JSON objects."""
        content = b"" if body is None else json.dumps(body).encode()
        answer = self._request(method, path, content, {"Content-Type": "application/json", **(headers or {})})
        try:
            document = json.loads(answer.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise OpenAIError(f"OpenAI's answer to {method} {path} is not a JSON object", openai_status=answer.status)
        return document

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        all_headers = {
            "Authorization": f"Bearer {self._api_key.get_secret_value()}",
            "User-Agent": USER_AGENT,
            **headers,
        }
        what = f"{method} {path}"
        status, location = None, ""
        deadline = time.monotonic() + self._timeout_seconds
        timeout = urllib3.Timeout(total=self._timeout_seconds)
        try:
            response = self._http.request(
                method, self._base_url + path, body=body, headers=all_headers, timeout=timeout, preload_content=False
            )
            status, location = response.status, response.headers.get("Location", "")
            content = _read(response, deadline)
        except (urllib3.exceptions.HTTPError, TimeoutError) as error:
            reason = f"{what} got no whole answer from OpenAI: {type(error).__name__}"
            raise OpenAIError(reason, openai_status=status, location=location) from error
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise OpenAIError(f"OpenAI answered {what} with {status}: {_reason(content)}", openai_status=status)
        return Answer(response.status, location, content)


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Read the whole answer, if it is short and comes in time.

    A socket's own time-out would start anew with each byte.
    """
    content = bytearray()
    whole = False
    try:
        while len(content) <= MAX_ANSWER_BYTES and time.monotonic() < deadline:
            chunk = response.read1(64 * 1024)
            if not chunk:
                whole = True
                return bytes(content)
            content += chunk
    finally:
        if not whole:
            response.close()
    raise TimeoutError


def is_webrtc_call_id(text: str) -> bool:
    """Say whether a text can be a WebRTC call's id."""
    return text.startswith(WEBRTC_PREFIX) and text != WEBRTC_PREFIX and CALL_ID.fullmatch(text) is not None


def _call_id(location: str) -> str | None:
    """Find the call's id in a Location header, such as /v1/realtime/calls/rtc_u0_E6mH7Y."""
    call_id = location.rpartition("/")[2]
    return call_id if is_webrtc_call_id(call_id) else None


def _part(name: str, content: bytes, content_type: str) -> RequestField:
    part = RequestField(name, content)
    part.make_multipart(content_type=content_type)
    return part


def _reason(body: bytes) -> str:
    """Return what OpenAI says is wrong, in one line."""
    try:
        match json.loads(body):
            case {"error": {"code": code, "message": message}}:
                return f"{code or ''} {' '.join(str(message).split())}".strip()[:MAX_MESSAGE_LENGTH]
    except ValueError:
        pass
    return "no reason given"
