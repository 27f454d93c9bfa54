"""The health port, where Cloud Run and Prometheus ask how a supervisor is.

    GET /livez     200 as long as the event loop turns, without which no lease is renewed either
    GET /readyz    200 while calls are claimed; 503 before Pub/Sub has answered, and while stopping
    GET /metrics   Prometheus text

It is a WebSocket server that answers before any upgrade, so that no HTTP server has to be added for three lines.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from supervisor.errors import StartupError
from supervisor.telemetry.metrics import State

log = structlog.get_logger()

REQUEST_SECONDS = 2.0  # from a connection to its request


@asynccontextmanager
async def serving(address: str, state: Callable[[], State]) -> AsyncIterator[None]:
    """Serve health at HOST:PORT until the block is left.

    An empty address means nowhere.

    Raises:
        StartupError: the address can't be listened on.
    """
    if not address:
        yield
        return

    def answer(_connection: ServerConnection, request: Request) -> Response:
        return _answer(request.path.partition("?")[0], state())

    host, _, port = address.rpartition(":")
    try:
        server = await serve(_never, host, int(port), process_request=answer, open_timeout=REQUEST_SECONDS)
    except OSError as error:
        raise StartupError(f"HEALTH_ADDRESS={address}: {error.strerror}; choose another, or none") from error
    async with server:
        log.info("health_served", port=server.sockets[0].getsockname()[1])
        yield


def _answer(path: str, state: State) -> Response:
    match path:
        case "/livez":
            return _response(HTTPStatus.OK, "application/json", orjson.dumps(asdict(state)))
        case "/readyz":
            status = HTTPStatus.OK if state.ready else HTTPStatus.SERVICE_UNAVAILABLE
            return _response(status, "application/json", orjson.dumps(asdict(state)))
        case "/metrics":
            return _response(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest())
        case _:
            return _response(HTTPStatus.NOT_FOUND, "text/plain", b"/livez, /readyz, /metrics\n")


def _response(status: HTTPStatus, content_type: str, body: bytes) -> Response:
    headers = Headers({"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, body)


async def _never(_connection: ServerConnection) -> None:
    """Do nothing: no connection becomes a WebSocket."""
