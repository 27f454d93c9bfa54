"""One secret of Google's Secret Manager, by REST.

The client library would be larger than the rest of the function.
"""

from __future__ import annotations

import base64
import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import google.auth
import urllib3
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.urllib3 import AuthorizedHttp

from function.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Mapping

GOOGLE = "https://secretmanager.googleapis.com"
REQUEST_SECONDS = 20
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_NAME = re.compile(r"projects/[^/\s]+/secrets/[A-Za-z0-9_-]{1,255}")


class SecretManagerError(EdgeError):
    """Secret Manager refused or failed; the message says what to do."""


class SecretManager:
    """One secret, as projects/PROJECT/secrets/NAME.

    Every method raises `SecretManagerError` when Secret Manager refuses or fails.
    """

    def __init__(self, name: str, url: str = GOOGLE) -> None:
        if not _NAME.fullmatch(name):
            raise SecretManagerError(f"{name}: write it as projects/PROJECT/secrets/NAME.")
        self._name = name
        self._url = f"{url}/v1/{name}"
        http = urllib3.PoolManager(timeout=REQUEST_SECONDS, retries=False)
        self._http = AuthorizedHttp(_credentials(), http) if url == GOOGLE else http

    def latest(self) -> str:
        """Read the latest version; empty, if there is no version yet."""
        status, answer = self._request("GET", "/versions/latest:access")
        if status == HTTPStatus.NOT_FOUND:
            return ""
        return base64.b64decode(self._checked(status, answer)["payload"]["data"]).decode()

    def add(self, text: str) -> str:
        """Add a version; returns its name."""
        body = {"payload": {"data": base64.b64encode(text.encode()).decode()}}
        return str(self._checked(*self._request("POST", ":addVersion", body))["name"])

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        content = json.dumps(body).encode() if body else None
        try:
            response = self._http.request(
                method, self._url + path, body=content, headers={"Content-Type": "application/json"}
            )
            return response.status, json.loads(response.data or b"{}")
        except (urllib3.exceptions.HTTPError, GoogleAuthError, ValueError) as error:
            raise SecretManagerError(f"Secret Manager could not be asked for {self._name}: {error}.") from error

    def _checked(self, status: int, answer: Any) -> dict[str, Any]:
        if status != HTTPStatus.OK or not isinstance(answer, dict):
            reason = answer.get("error", {}).get("message", "") if isinstance(answer, dict) else ""
            raise SecretManagerError(
                f"Secret Manager answered {status} for {self._name}: {reason or 'no reason given'}. The secret must be "
                "there, and you need roles/secretmanager.secretVersionAdder and secretAccessor on it."
            )
        return answer


def _credentials() -> Any:
    try:
        credentials, _project = google.auth.default(scopes=[_SCOPE])
    except GoogleAuthError as error:
        raise SecretManagerError(f"No Google credentials: {error}") from error
    return credentials
