"""Call control by REST, and what all REST routes share (openai-realtime.md#call-control)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from emulator.openai.api.requests import authorise, error_response, port_of, read_form, read_object, stand_in_of, who_of
from emulator.openai.api.webrtc import FORM, create_call, create_client_secret
from emulator.openai.errors import ApiError, not_found
from emulator.openai.faults import RestFault
from emulator.openai.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from emulator.openai.calls.call import Call

_SIP_FAILURES = range(300, 700)


@web.middleware
async def rest_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Check the key, apply faults, shape errors, and log the request."""
    operation = request.match_info.route.name
    if operation is None or operation not in _OPERATIONS:
        return await handler(request)
    stand_in = stand_in_of(request)
    call_id = request.match_info.get("call_id")
    body = await _body_for_log(request)
    fault = stand_in.faults.strike(RestFault, call_id, lambda fault: fault.operation in (None, operation))
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


async def _body_for_log(request: web.Request) -> object:
    if request.content_type == FORM:
        try:
            return await read_form(request)
        except ApiError:
            return None
    body = await request.read()
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")


def _living_call(request: web.Request) -> Call:
    call = stand_in_of(request).calls.get(request.match_info["call_id"])
    if call is None or call.state == "ended":
        raise not_found()
    return call


async def _accept(request: web.Request) -> web.Response:
    _living_call(request).accept(await read_object(request), who=who_of(request))
    return web.Response()


async def _reject(request: web.Request) -> web.Response:
    call = _living_call(request)
    status_code = (await read_object(request)).get("status_code", 603)
    if status_code not in _SIP_FAILURES:
        raise ApiError("'status_code' must be a SIP status from 300 to 699.", code="invalid_value", param="status_code")
    call.reject(status_code, who=who_of(request))
    return web.Response()


async def _refer(request: web.Request) -> web.Response:
    call = _living_call(request)
    options = stand_in_of(request).options
    target = (await read_object(request)).get("target_uri")
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
    _living_call(request).hang_up_by_api(who=who_of(request))
    return web.Response()


_OPERATIONS = {
    "accept": ("/v1/realtime/calls/{call_id}/accept", _accept),
    "reject": ("/v1/realtime/calls/{call_id}/reject", _reject),
    "refer": ("/v1/realtime/calls/{call_id}/refer", _refer),
    "hangup": ("/v1/realtime/calls/{call_id}/hangup", _hangup),
    "create": ("/v1/realtime/calls", create_call),
    "client_secrets": ("/v1/realtime/client_secrets", create_client_secret),
}


def rest_routes() -> list[web.RouteDef]:
    """Return the REST routes."""
    return [web.post(path, handler, name=name) for name, (path, handler) in _OPERATIONS.items()]
