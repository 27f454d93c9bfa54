"""What can go wrong, and what follows from it.

    SidebandError
    ├── StartupError            the process can't start: a setting or the agent is wrong; one line says what to do
    ├── NoticeError             a Pub/Sub message that is not a CallNotice
    ├── EventError              a server event that is not of the shape that OpenAI documents
    ├── ControlError            OpenAI refused or failed a request about a call (accept, hangup, ...)
    ├── AttachError             OpenAI refused or failed the upgrade to a sideband
    ├── SidebandClosed          the sideband was lost
    ├── StoreError              the store of records is down or too slow (`records.store`)
    ├── TransferFailed          a call was not transferred (`agents.call`)
    ├── UserCodeError           users' code raised something (`agents.user_code`)
    └── TookTooLongError        users' code was not done in time (`agents.user_code`)

What follows from a failure is decided in `supervisor.openai.failures`.
"""

from __future__ import annotations

from typing import Literal


class SidebandError(Exception):
    """Base of all errors of the supervisor."""


class StartupError(SidebandError):
    """The process can't start; the message is one line that says what to do."""


class NoticeError(SidebandError):
    """A Pub/Sub message that is not a CallNotice."""


class EventError(SidebandError):
    """A server event that is not of the shape that OpenAI documents."""


class ControlError(SidebandError):
    """OpenAI refused or failed a request about a call.

    Attributes:
        operation: `accept`, `reject`, `refer` or `hangup`.
        status: the HTTP status, or None when no answer came (time-out, no connection).
        code: OpenAI's error code, such as `call_id_not_found`, where it gave one.
    """

    def __init__(self, operation: Operation, call_id: str, status: int | None, code: str | None, detail: str) -> None:
        super().__init__(
            f"{operation} of call {call_id} failed: {status or 'no answer'} {code or ''} {detail}".rstrip()
        )
        self.operation: Operation = operation
        self.status = status
        self.code = code


class AttachError(SidebandError):
    """OpenAI refused the upgrade to a sideband, or did not answer (`status` None)."""

    def __init__(self, call_id: str, status: int | None, detail: str) -> None:
        super().__init__(f"attach to call {call_id} failed: {status or 'no answer'} {detail}".rstrip())
        self.status = status


class SidebandClosed(SidebandError):
    """The sideband is closed.

    Attributes:
        code: the WebSocket close code, 1006 when no close frame came.
        reason: the text in the close frame, mostly empty.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"sideband closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


Operation = Literal["accept", "reject", "refer", "hangup"]
