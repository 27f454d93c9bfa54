"""The stand-in's one error, shaped as OpenAI shapes its own."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A request or client event that is refused.

    Args:
        message: What went wrong, for people.
        code: OpenAI's machine-readable code, such as `call_id_not_found`.
        status: The HTTP status, where the error answers a request.
        param: The field at fault, such as `session.type`.
    """

    def __init__(self, message: str, *, code: str | None, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.param = param

    @property
    def type(self) -> str:
        """The error's class: `server_error` for 5xx, otherwise `invalid_request_error`."""
        return "server_error" if self.status >= 500 else "invalid_request_error"  # noqa: PLR2004 - where HTTP draws the line

    def as_dict(self) -> dict[str, Any]:
        """Return what stands under `error` in a body or an event."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}


def not_found() -> ApiError:
    """Refuse a call that is unknown, not attachable, or over.

    See openai-realtime.md#unknown-calls and openai-realtime.md#when-attachable.
    """
    return ApiError("No session found for the provided call_id", code="call_id_not_found", status=404)


def already_decided(status: int) -> ApiError:
    """Refuse a second decision on one call (openai-realtime.md#second-decisions).

    The words are the Live API's.
    """
    return ApiError("This call has already been accepted or rejected.", code="decision_already_made", status=status)
