"""The sideband WebSocket: `GET /v1/realtime?call_id=...` (openai-realtime.md#sideband)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from emulator.openai.api.requests import authorise, error_response, port_of, stand_in_of, who_of
from emulator.openai.calls.sideband_socket import SidebandSocket
from emulator.openai.errors import ApiError, not_found
from emulator.openai.faults import UpgradeFault

if TYPE_CHECKING:
    from emulator.openai.calls.call import Call

_MAX_FRAME_BYTES = 20 * 1024 * 1024


async def _attach(request: web.Request) -> web.StreamResponse:
    """Attach a socket to a call until it is closed."""
    stand_in = stand_in_of(request)
    call_id = request.query.get("call_id")
    call = stand_in.calls.get(call_id or "")
    who = who_of(request)
    try:
        await _refuse_if(stand_in.faults.strike(UpgradeFault, call_id))
        call = _attachable_call(request, call)
    except ApiError as error:
        payload = error.as_dict()
        stand_in.note_request("refused", str(error.status), payload, call_id=call_id, who=who, port=port_of(request))
        return error_response(error)
    connection = web.WebSocketResponse(compress=False, max_msg_size=_MAX_FRAME_BYTES)
    await connection.prepare(request)
    transport = request.transport
    if transport is None:
        return connection
    socket = SidebandSocket(
        connection,
        transport,
        number=call.next_attach(),
        who=who,
        port=port_of(request),
        delay_seconds=call.frame_delay_seconds,
    )
    await _pass_frames(call, socket, connection)
    return connection


async def _refuse_if(fault: UpgradeFault | None) -> None:
    if fault:
        await asyncio.sleep(fault.hang_seconds)
        raise ApiError("The server is overloaded or not ready yet.", code=None, status=fault.status)


def _attachable_call(request: web.Request, call: Call | None) -> Call:
    key = authorise(request, ephemeral=True)
    options = stand_in_of(request).options
    if "call_id" not in request.query:
        raise ApiError(
            "This stand-in serves sidebands only: give a call_id.", code="missing_required_parameter", param="call_id"
        )
    if call is None or request.headers.get("openai-beta"):
        raise not_found()  # the beta, which is no more, is answered in the same way
    if call.state == "ended":
        error = not_found()
        error.status = options.ended_attach_status
        raise error
    if not call.attachable:
        raise not_found()
    if call.ephemeral_key and not _key_fits(call.ephemeral_key, key, options.ephemeral_calls_attach_with):
        raise not_found()
    if call.attached and options.second_attach == "refuse":
        raise ApiError(
            "Another client is attached to this call.", code="already_attached", status=options.second_attach_status
        )
    return call


def _key_fits(maker: str, key: str, wanted: str) -> bool:
    return wanted == "either" or (key == maker) == (wanted == "ephemeral")


async def _pass_frames(call: Call, socket: SidebandSocket, connection: web.WebSocketResponse) -> None:
    call.attach(socket)
    writer = asyncio.create_task(socket.write(), name=f"write {call.call_id} {socket.number}")
    try:
        async for message in connection:
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                call.receive(socket, message.data)
    finally:
        writer.cancel()
        call.detach(socket, connection.close_code)
        await asyncio.wait({writer})


def sideband_routes() -> list[web.RouteDef]:
    """Return the route of the sideband."""
    return [web.get("/v1/realtime", _attach)]
