"""What the routes share: keys, bodies, errors, and who asks."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from emulator.openai.errors import ApiError
from emulator.openai.stand_in import StandIn

stand_in_key = web.AppKey("stand_in", StandIn)


def stand_in_of(request: web.Request) -> StandIn:
    """Return the stand-in that serves a request."""
    return request.app[stand_in_key]


def who_of(request: web.Request) -> str:
    """Return the client's `User-Agent`."""
    return request.headers.get("user-agent", "")


def port_of(request: web.Request) -> int | None:
    """Return the client's port."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return peer[1] if peer else None


def authorise(request: web.Request, *, ephemeral: bool = False) -> str:
    """Check the request's key, and return it.

    Args:
        request: The request.
        ephemeral: Whether an `ek_` key will do, too; even an expired one, since sessions outlive their keys.

    Raises:
        ApiError: it carries no key, or one that is not good here.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise ApiError("Missing bearer authentication in header", code=None, status=401)
    key = key.strip()
    stand_in = stand_in_of(request)
    if key in stand_in.options.api_keys or (ephemeral and stand_in.minted(key)):
        return key
    raise ApiError(f"Incorrect API key provided: {key[:5]}***.", code="invalid_api_key", status=401)


async def read_object(request: web.Request) -> dict[str, Any]:
    """Read a body that is a JSON object, or empty.

    Raises:
        ApiError: it is something else.
    """
    body = await request.read()
    try:
        value = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ApiError("We could not parse the JSON body of your request.", code=None)
    return value


async def read_form(request: web.Request) -> dict[str, str]:
    """Read a multipart form.

    Raises:
        ApiError: the body is none.
    """
    try:
        form = await request.post()
        return {name: _text(value) for name, value in form.items()}
    except ValueError:
        raise ApiError("The body is not the multipart form that its header promises.", code="invalid_body") from None


def _text(value: str | bytearray | bytes | web.FileField) -> str:
    content = value.file.read() if isinstance(value, web.FileField) else value
    if isinstance(value, web.FileField):
        value.file.seek(0)  # the log reads it, and then the handler
    return content if isinstance(content, str) else bytes(content).decode()


def error_response(error: ApiError) -> web.Response:
    """Answer with an error in OpenAI's shape."""
    return web.json_response({"error": error.as_dict()}, status=error.status)
