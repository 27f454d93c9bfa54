"""Calls by WebRTC, and browsers' ephemeral keys (openai-realtime.md#calls-from-browsers)."""

from __future__ import annotations

import orjson
from aiohttp import web

from emulator.openai.api.requests import authorise, read_form, read_object, stand_in_of
from emulator.openai.calls.sdp import sdp_answer
from emulator.openai.errors import ApiError
from emulator.openai.ids import new_id
from emulator.openai.realtime.session import check_session, start_session

FORM = "multipart/form-data"
_SECRET_SECONDS = range(10, 7201)
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Location, X-Request-Id",
}


async def create_call(request: web.Request) -> web.Response:
    """Make a call from an SDP offer.

    It comes with the project's key and a session, or with an ephemeral key, which has one.
    """
    stand_in = stand_in_of(request)
    key = authorise(request, ephemeral=True)
    secret_session = stand_in.secret_session(key)
    if secret_session is None and stand_in.minted(key):
        raise ApiError("The ephemeral key has expired.", code="invalid_api_key", status=401)
    if request.content_type == FORM:
        offer, config = await _offer_and_session(request)
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

        peer = await browser_peer.answer(offer)
        call = stand_in.place_webrtc_call(session, ephemeral_key=ephemeral_key)
        browser_peer.connect(peer, call)
        answer = peer.localDescription.sdp
    else:
        call = stand_in.place_webrtc_call(session, ephemeral_key=ephemeral_key)
        answer = sdp_answer(offer)
    location = f"/v1/realtime/calls/{call.call_id}"
    return web.Response(status=201, text=answer, headers={"Location": location, **_CORS})


async def _offer_and_session(request: web.Request) -> tuple[str, object | None]:
    form = await read_form(request)
    if "sdp" not in form:
        raise ApiError("Missing required parameter: 'sdp'.", code="missing_required_parameter", param="sdp")
    if "session" not in form:
        return form["sdp"], None
    try:
        return form["sdp"], orjson.loads(form["session"])
    except orjson.JSONDecodeError:
        raise ApiError("'session' is not JSON.", code="invalid_json", param="session") from None


async def create_client_secret(request: web.Request) -> web.Response:
    """Mint an ephemeral key for a session."""
    body = await read_object(request)
    seconds = (body.get("expires_after") or {}).get("seconds", 600)
    if seconds not in _SECRET_SECONDS:
        raise ApiError(
            "'expires_after.seconds' must be from 10 to 7200.", code="invalid_value", param="expires_after.seconds"
        )
    session = check_session(body.get("session") or {"type": "realtime"})
    value, expires_at = stand_in_of(request).mint_secret(session, seconds)
    shown = start_session(new_id("sess"), 0, session)
    return web.json_response({"value": value, "expires_at": expires_at, "session": shown})
