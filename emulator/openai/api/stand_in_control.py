"""The stand-in's own HTTP interface, under `/stand-in/` (described in `emulator.openai`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from emulator.openai.api.requests import stand_in_of
from emulator.openai.calls.caller import press, say
from emulator.openai.script import Caller, Dtmf, ScriptError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from emulator.openai.calls.call import Call
    from emulator.openai.realtime.conversation import Conversation

_LONGEST_POLL_SECONDS = 30.0
_PREFIX = "/stand-in/"


class _PlaceCall(BaseModel):
    model_config = ConfigDict(extra="forbid")

    script: list[dict[str, Any]] = []
    from_number: str = "+31201234567"
    to_number: str = "+31207654321"
    headers: list[tuple[str, str]] = []
    webhook: bool | None = None


@web.middleware
async def control_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer bad input with a 400 that says what is wrong."""
    if not request.path.startswith(_PREFIX):
        return await handler(request)
    try:
        return await handler(request)
    except (ScriptError, ValidationError, orjson.JSONDecodeError, ValueError) as error:
        return web.json_response({"error": {"message": str(error)}}, status=400)


def _answer(value: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value, default=str), status=status, content_type="application/json")


async def _place(request: web.Request) -> web.Response:
    wanted = _PlaceCall.model_validate_json(await request.read() or b"{}")
    call = await stand_in_of(request).place_call(**dict(wanted))
    return _answer(call.as_dict(), status=201)


async def _calls(request: web.Request) -> web.Response:
    return _answer([call.as_dict() for call in stand_in_of(request).calls.values()])


def _known_call(request: web.Request) -> Call:
    call = stand_in_of(request).calls.get(request.match_info["call_id"])
    if call is None:
        raise web.HTTPNotFound(text=f"There is no call {request.match_info['call_id']}.\n")
    return call


async def _call(request: web.Request) -> web.Response:
    return _answer(_known_call(request).as_dict())


async def _log(request: web.Request) -> web.Response:
    log = stand_in_of(request).log
    after = int(request.query.get("after", "0"))
    wait_seconds = min(float(request.query.get("wait_seconds", "0")), _LONGEST_POLL_SECONDS)
    call_id = request.query.get("call_id")
    entries = await log.wait_after(after, timeout_seconds=wait_seconds) if wait_seconds else log.after(after)
    return _answer([entry.as_dict() for entry in entries if call_id in (None, entry.call_id)])


async def _inject(request: web.Request) -> web.Response:
    fault = stand_in_of(request).inject(orjson.loads(await request.read()))
    return _answer(fault.model_dump(), status=201)


async def _faults(request: web.Request) -> web.Response:
    return _answer([fault.model_dump() for fault in stand_in_of(request).faults])


async def _clear_faults(request: web.Request) -> web.Response:
    stand_in_of(request).forget_faults()
    return _answer([])


async def _options(request: web.Request) -> web.Response:
    options = stand_in_of(request).options
    if request.method == "PATCH":
        options.change(orjson.loads(await request.read()))
    return _answer(options.model_dump())


async def _hang_up(request: web.Request) -> web.Response:
    call = _known_call(request)
    call.hang_up()
    return _answer(call.as_dict())


async def _say(request: web.Request) -> web.Response:
    call = _known_call(request)
    step = Caller(caller=orjson.loads(await request.read())["text"])
    call.start(say(call, _conversation(call), step.caller), "say")
    return _answer(call.as_dict())


async def _dtmf(request: web.Request) -> web.Response:
    call = _known_call(request)
    step = Dtmf(dtmf=orjson.loads(await request.read())["keys"])
    call.start(press(call, _conversation(call), step.dtmf), "dtmf")
    return _answer(call.as_dict())


def _conversation(call: Call) -> Conversation:
    if call.state != "accepted" or call.conversation is None:
        raise ValueError(f"Call {call.call_id} is {call.state}; only in an accepted call can anything be said.")
    return call.conversation


def control_routes() -> list[web.RouteDef]:
    """Return the routes of the stand-in's own interface."""
    return [
        web.post("/stand-in/calls", _place),
        web.get("/stand-in/calls", _calls),
        web.get("/stand-in/calls/{call_id}", _call),
        web.post("/stand-in/calls/{call_id}/hang_up", _hang_up),
        web.post("/stand-in/calls/{call_id}/say", _say),
        web.post("/stand-in/calls/{call_id}/dtmf", _dtmf),
        web.get("/stand-in/log", _log),
        web.post("/stand-in/faults", _inject),
        web.get("/stand-in/faults", _faults),
        web.delete("/stand-in/faults", _clear_faults),
        web.get("/stand-in/options", _options),
        web.patch("/stand-in/options", _options),
    ]
