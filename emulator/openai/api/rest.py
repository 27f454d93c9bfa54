"""The REST half: call control, calls by WebRTC, and ephemeral keys (reference 2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from emulator.openai.calls.sdp import sdp_answer
from emulator.openai.errors import ApiError, not_found
from emulator.openai.ids import new_id
from emulator.openai.options import RestFault
from emulator.openai.realtime.session import check_session, start_session
from emulator.openai.stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from emulator.openai.calls.call import Call

stand_in_key = web.AppKey("stand_in", StandIn)
_FORM = "multipart/form-data"
_SECRET_SECONDS = range(10, 7201)
_SIP_FAILURES = range(300, 700)
_BROWSERS_MAY = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Location, X-Request-Id",
}


def bearer(request: web.Request) -> str | None:
    """The key that a request carries."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def who_of(request: web.Request) -> str:
    """The client, as it names itself."""
    return request.headers.get("user-agent", "")


def port_of(request: web.Request) -> int | None:
    """The client's port."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return peer[1] if peer else None


def authorise(request: web.Request, *, ephemeral: bool = False) -> str:
    """The request's key.

    Args:
        request: The request.
        ephemeral: Whether an `ek_` key will do, too; even an expired one, since sessions outlive their keys.

    Raises:
        ApiError: it carries no key, or one that is not good here.
    """
    key = bearer(request)
    if key is None:
        raise ApiError("Missing bearer authentication in header", code=None, status=401)
    stand_in = request.app[stand_in_key]
    if key in stand_in.options.api_keys or (ephemeral and stand_in.minted(key)):
        return key
    raise ApiError(f"Incorrect API key provided: {key[:5]}***.", code="invalid_api_key", status=401)


def error_response(error: ApiError) -> web.Response:
    """An error in OpenAI's shape."""
    return web.json_response({"error": error.fields()}, status=error.status)


@web.middleware
async def rest_manners(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What all REST operations share: the key, errors, faults, `x-request-id`, and a log entry."""
    operation = request.match_info.route.name
    if operation is None or operation not in _OPERATIONS:
        return await handler(request)
    stand_in = request.app[stand_in_key]
    call_id = request.match_info.get("call_id")
    body = await _shown(request)
    fault = stand_in.strike(RestFault, call_id, lambda fault: fault.operation in (None, operation))
    applied = fault is None or fault.status is None or fault.applied
    response: web.StreamResponse | None = None
    if applied:
        try:
            authorise(request, ephemeral=operation == "create")
            response = await handler(request)
        except ApiError as error:
            response = error_response(error)
    if fault and fault.status is not None:
        response = error_response(
            ApiError("The server had an error while processing your request.", code=None, status=fault.status)
        )
    if response is None:
        raise AssertionError("a request that was not applied is answered by its fault")
    response.headers["x-request-id"] = new_id("req")
    payload = {"status": response.status, "applied": applied, "faulty": fault is not None, "body": body}
    if safety_identifier := request.headers.get("openai-safety-identifier"):
        payload["safety_identifier"] = safety_identifier
    stand_in.note_request("rest", operation, payload, call_id=call_id, who=who_of(request), port=port_of(request))
    if fault and fault.hang_seconds:
        await asyncio.sleep(fault.hang_seconds)
    return response


async def _shown(request: web.Request) -> object:
    """A request's body, for the log."""
    if request.content_type == _FORM:
        try:
            return await _form(request)
        except ApiError:
            return None
    body = await request.read()
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")


def _call(request: web.Request) -> Call:
    call = request.app[stand_in_key].calls.get(request.match_info["call_id"])
    if call is None or call.state == "ended":
        raise not_found()
    return call


async def _json(request: web.Request) -> dict[str, Any]:
    body = await request.read()
    try:
        value = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ApiError("We could not parse the JSON body of your request.", code=None)
    return value


async def _accept(request: web.Request) -> web.Response:
    _call(request).accept(await _json(request), who=who_of(request))
    return web.Response()


async def _reject(request: web.Request) -> web.Response:
    call = _call(request)
    status_code = (await _json(request)).get("status_code", 603)
    if status_code not in _SIP_FAILURES:
        raise ApiError("'status_code' must be a SIP status from 300 to 699.", code="invalid_value", param="status_code")
    call.reject(status_code, who=who_of(request))
    return web.Response()


async def _refer(request: web.Request) -> web.Response:
    call = _call(request)
    options = request.app[stand_in_key].options
    target = (await _json(request)).get("target_uri")
    if not isinstance(target, str) or not target.startswith(("tel:", "sip:", "sips:")):
        raise ApiError("'target_uri' must be a tel: or sip: URI.", code="invalid_value", param="target_uri")
    if call.transport != "sip":
        raise ApiError("Only SIP calls can be referred.", code="invalid_request", status=options.refer_webrtc_status)
    if call.state != "accepted":
        raise ApiError("The call has not been accepted.", code="invalid_request", status=409)
    if options.refer == "transfer":
        call.end_in(options.refer_ms, "transferred", who=who_of(request))
    return web.Response()


async def _hangup(request: web.Request) -> web.Response:
    call = _call(request)
    call.hang_up_by_api(who=who_of(request))
    return web.Response()


async def _create(request: web.Request) -> web.Response:
    stand_in = request.app[stand_in_key]
    key = authorise(request, ephemeral=True)
    secret_session = stand_in.secret_session(key)
    if secret_session is None and stand_in.minted(key):
        raise ApiError("The ephemeral key has expired.", code="invalid_api_key", status=401)
    if request.content_type == _FORM:
        offer, config = await _multipart(request)
        session = check_session(config) if config is not None else (secret_session or {})
    elif secret_session is None:
        raise ApiError(
            "A raw SDP offer needs an ephemeral key; otherwise post 'sdp' and 'session'.", code="invalid_request"
        )
    else:
        offer, session = await request.text(), secret_session
    if not offer.startswith("v=0"):
        raise ApiError("Invalid SDP offer.", code="invalid_offer", param="sdp")
    ephemeral_key = key if stand_in.minted(key) else None
    if stand_in.options.webrtc_media:
        from emulator.openai.calls import browser_peer  # noqa: PLC0415 - half a second, which few need

        peer = await browser_peer.answered(offer)
        call = stand_in.place_webrtc_call(session, ephemeral_key=ephemeral_key)
        browser_peer.join(peer, call)
        answer = peer.localDescription.sdp
    else:
        call = stand_in.place_webrtc_call(session, ephemeral_key=ephemeral_key)
        answer = sdp_answer(offer)
    return web.Response(
        status=201,
        text=answer,
        headers={"Location": f"/v1/realtime/calls/{call.call_id}", **_BROWSERS_MAY},
    )


async def _multipart(request: web.Request) -> tuple[str, object | None]:
    """The offer, and the session if there is one."""
    form = await _form(request)
    if "sdp" not in form:
        raise ApiError("Missing required parameter: 'sdp'.", code="missing_required_parameter", param="sdp")
    if "session" not in form:
        return form["sdp"], None
    try:
        return form["sdp"], orjson.loads(form["session"])
    except orjson.JSONDecodeError:
        raise ApiError("'session' is not JSON.", code="invalid_json", param="session") from None


async def _form(request: web.Request) -> dict[str, str]:
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


async def _client_secrets(request: web.Request) -> web.Response:
    stand_in = request.app[stand_in_key]
    wish = await _json(request)
    seconds = (wish.get("expires_after") or {}).get("seconds", 600)
    if seconds not in _SECRET_SECONDS:
        raise ApiError(
            "'expires_after.seconds' must be from 10 to 7200.", code="invalid_value", param="expires_after.seconds"
        )
    session = check_session(wish.get("session") or {"type": "realtime"})
    value, expires_at = stand_in.mint_secret(session, seconds)
    shown = start_session(new_id("sess"), 0, session)
    return web.json_response({"value": value, "expires_at": expires_at, "session": shown})


_OPERATIONS = {
    "accept": ("/v1/realtime/calls/{call_id}/accept", _accept),
    "reject": ("/v1/realtime/calls/{call_id}/reject", _reject),
    "refer": ("/v1/realtime/calls/{call_id}/refer", _refer),
    "hangup": ("/v1/realtime/calls/{call_id}/hangup", _hangup),
    "create": ("/v1/realtime/calls", _create),
    "client_secrets": ("/v1/realtime/client_secrets", _client_secrets),
}


def rest_routes() -> list[web.RouteDef]:
    """The routes of the REST half."""
    return [web.post(path, handler, name=name) for name, (path, handler) in _OPERATIONS.items()]
