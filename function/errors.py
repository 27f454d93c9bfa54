"""What can go wrong in the edge.

    EdgeError
    ├── SettingsError       a setting is missing or malformed: the process does not start
    ├── RequestError        the request is at fault: a 4xx, and nothing is published
    └── UnavailableError    the edge, or what it depends on, can't do it now: a 5xx
        ├── PublishError    Pub/Sub did not take the notice: a 503, so that OpenAI delivers again
        └── OpenAIError     OpenAI refused or failed a request, or did not answer in time

None of them is a bug: each is logged in one line, without a traceback.
"""

from __future__ import annotations

from http import HTTPStatus


class EdgeError(Exception):
    """Whatever the edge raises by itself."""


class SettingsError(EdgeError):
    """A setting is missing or wrong; the message names it in one line."""


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


class UnavailableError(EdgeError):
    """A request that is answered with a 5xx.

    The message is for the log alone.

    Attributes:
        status: The HTTP status.
        code: What is wrong, for programs, such as `busy`.
        call_id: The call that it is about, if there is one.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        call_id: str | None = None,
        status: HTTPStatus = HTTPStatus.SERVICE_UNAVAILABLE,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.call_id = call_id


class PublishError(UnavailableError):
    """Pub/Sub refused a notice, or did not answer.

    It may have the notice all the same.
    """

    def __init__(self, call_id: str, message: str) -> None:
        super().__init__("publish_failed", message, call_id=call_id)


class OpenAIError(UnavailableError):
    """OpenAI refused or failed a request, or did not answer in time.

    Attributes:
        openai_status: The HTTP status of OpenAI's answer; None when none came.
        location: The Location header of an answer that broke off: the call that was made all the same.
    """

    def __init__(self, message: str, *, openai_status: int | None, location: str = "") -> None:
        status = HTTPStatus.GATEWAY_TIMEOUT if openai_status is None else HTTPStatus.BAD_GATEWAY
        super().__init__("openai_failed", message, status=status)
        self.openai_status = openai_status
        self.location = location
