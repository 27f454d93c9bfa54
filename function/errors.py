"""What can go wrong in the edge.

    EdgeError
    ├── SettingsError   a setting is missing or malformed: the process does not start
    ├── RequestError    the request is at fault: a 4xx, and nothing is published
    └── PublishError    Pub/Sub did not take the notice: a 503, so that OpenAI delivers again

None of them is a bug: each is logged in one line, without a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http import HTTPStatus


class EdgeError(Exception):
    """Anything that the edge raises by itself."""


class SettingsError(EdgeError):
    """A setting is missing or malformed; the message is one line that names it and says what to set."""


class RequestError(EdgeError):
    """A request that is answered with a 4xx.

    Attributes:
        status: The HTTP status.
        code: What is wrong, for programs, such as `invalid_signature`.
        headers: Headers that the answer carries besides, such as `Allow`.
    """

    def __init__(self, status: HTTPStatus, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


class PublishError(EdgeError):
    """Pub/Sub refused a notice, or did not answer in time.

    Attributes:
        call_id: The call that nobody has heard of yet.
    """

    def __init__(self, call_id: str, message: str) -> None:
        super().__init__(message)
        self.call_id = call_id
