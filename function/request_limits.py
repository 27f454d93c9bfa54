"""Limits on requests: the size of their head, their body's size and time."""

from __future__ import annotations

import io
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from function.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import flask

MAX_HEADERS = 100
MAX_HEADER_BYTES = 8 * 1024  # of one header
MAX_HEAD_BYTES = 32 * 1024  # of all headers
MAX_TARGET_BYTES = 2 * 1024
BODY_SECONDS = 5.0


def check_head(request: flask.Request) -> None:
    """Refuse a head that no honest client sends.

    Raises:
        RequestError: the address or the headers are too long or too many, or the body is compressed.
    """
    if len(request.environ.get("RAW_URI", "")) > MAX_TARGET_BYTES:
        raise RequestError(
            HTTPStatus.REQUEST_URI_TOO_LONG, "target_too_long", f"the address is over {MAX_TARGET_BYTES} bytes"
        )
    sizes = [len(name) + len(value) for name, value in request.headers]
    if len(sizes) > MAX_HEADERS or sum(sizes) > MAX_HEAD_BYTES or max(sizes, default=0) > MAX_HEADER_BYTES:
        raise RequestError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers_too_large",
            f"over {MAX_HEADERS} headers, {MAX_HEADER_BYTES} bytes in one, or {MAX_HEAD_BYTES} bytes in all",
        )
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "compressed_body", "send the body uncompressed")


def read_body(request: flask.Request, media_type: str, max_bytes: int) -> bytes:
    """Read the whole body, within bounds of size and time.

    Never more than a byte over the bound is read, whether the length was declared or not.

    Raises:
        RequestError: it is of another media type, too long, too slow, breaks off, or is badly framed.
    """
    if request.mimetype != media_type:
        raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", f"send {media_type}")
    request.max_content_length = max_bytes + 1
    connection: socket.socket | None = request.environ.get("gunicorn.socket")
    body, broken, too_large = b"", False, False
    with _deadlines.bounded(connection) as reading:
        try:
            body = request.get_data()
            broken = len(body) < min(request.content_length or 0, max_bytes)
            too_large = len(body) > max_bytes
        except RequestEntityTooLarge:
            too_large = True
        except (ClientDisconnected, ParseException, NoMoreData, ConnectionError):
            broken = True
    if reading.cut:
        raise RequestError(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", f"the body took over {BODY_SECONDS:.0f} s")
    if broken:
        raise RequestError(HTTPStatus.BAD_REQUEST, "invalid_body", "the body broke off or is badly framed")
    if too_large:
        raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"the body is over {max_bytes} bytes")
    return body


def discard_body(request: flask.Request) -> None:
    """Leave the rest of the body unread.

    functions-framework would read it before it answers.
    """
    request.stream = io.BytesIO()


def client_is_gone(request: flask.Request) -> bool:
    """Say whether the client is known to have closed its connection."""
    connection: socket.socket | None = request.environ.get("gunicorn.socket")
    if connection is None:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class _Body:
    """A body that is being read."""

    def __init__(self, connection: socket.socket | None) -> None:
        self.connection = connection
        self.deadline = time.monotonic() + BODY_SECONDS
        self.cut = False

    def cut_off(self) -> None:
        """End the reading side of the connection; it can still be answered."""
        self.cut = True
        with suppress(OSError):  # the client was faster
            if self.connection:
                self.connection.shutdown(socket.SHUT_RD)


class _BodyDeadlines:
    """Cuts off bodies that take too long, however steadily they come.

    A socket's own timeout would start anew with each byte. One thread watches over all bodies, oldest first, since all
    have the same time. The first body starts it, hence after the server has forked.
    """

    def __init__(self) -> None:
        self._bodies: dict[_Body, None] = {}
        self._added = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def bounded(self, connection: socket.socket | None) -> Iterator[_Body]:
        """Cut the body off if the block is not left in time."""
        body = _Body(connection)
        if connection is None:  # not under gunicorn, hence not from the network
            yield body
            return
        with self._added:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="body deadlines", daemon=True)
                self._thread.start()
            self._bodies[body] = None
            self._added.notify()
        try:
            yield body
        finally:
            with self._added:
                self._bodies.pop(body, None)

    def _watch(self) -> None:
        while True:
            with self._added:
                while not self._bodies:
                    self._added.wait()
                oldest = next(iter(self._bodies))
                wait_seconds = oldest.deadline - time.monotonic()
                if wait_seconds <= 0:
                    del self._bodies[oldest]
                    oldest.cut_off()
                    continue
            time.sleep(wait_seconds)


_deadlines = _BodyDeadlines()
