"""The REST routes of webhook endpoints, `/v1/webhook_endpoints` (openai-realtime.md#webhook-endpoints)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from emulator.openai.api.requests import authorise, error_response, read_object, stand_in_of
from emulator.openai.endpoints import EVENT_TYPES
from emulator.openai.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from emulator.openai.endpoints import Endpoint, Endpoints

_PAGE = 20


def _served(
    handler: Callable[[web.Request], Awaitable[dict[str, Any]]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Check the key, and answer in JSON, errors included."""

    async def serve(request: web.Request) -> web.Response:
        try:
            authorise(request)
            return web.json_response(await handler(request))
        except ApiError as error:
            return error_response(error)

    return serve


def _endpoints(request: web.Request) -> Endpoints:
    return stand_in_of(request).endpoints


def _named(request: web.Request) -> Endpoint:
    return _endpoints(request).find(request.match_info["id"])


async def _create(request: web.Request) -> dict[str, Any]:
    return _endpoints(request).create(await read_object(request)).as_dict(with_secret=True)


async def _list(request: web.Request) -> dict[str, Any]:
    shown = [endpoint.as_dict() for endpoint in _endpoints(request)]
    after = request.query.get("after")
    first = next((number + 1 for number, endpoint in enumerate(shown) if endpoint["id"] == after), 0)
    last = first + int(request.query.get("limit", _PAGE))
    page = shown[first:last]
    ids = [endpoint["id"] for endpoint in page]
    return {
        "object": "list",
        "data": page,
        "has_more": last < len(shown),
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
    }


async def _retrieve(request: web.Request) -> dict[str, Any]:
    return _named(request).as_dict()


async def _update(request: web.Request) -> dict[str, Any]:
    return _endpoints(request).update(request.match_info["id"], await read_object(request)).as_dict()


async def _delete(request: web.Request) -> dict[str, Any]:
    _endpoints(request).delete(request.match_info["id"])
    return {"id": request.match_info["id"], "object": "webhook_endpoint.deleted", "deleted": True}


async def _rotate(request: web.Request) -> dict[str, Any]:
    endpoint = _named(request)
    endpoint.rotate(keep_old=(await read_object(request)).get("keep_old_secret_active_for_24_hours") is True)
    return endpoint.as_dict(with_secret=True)


async def _test(request: web.Request) -> dict[str, Any]:
    endpoint = _named(request)
    event_type = (await read_object(request)).get("event_type")
    if event_type not in EVENT_TYPES:
        raise ApiError(f"Unknown event type: {event_type}", code="invalid_value", param="event_type")
    outcome = await stand_in_of(request).webhooks.deliver_test(endpoint, event_type)
    if "status" not in outcome:
        raise ApiError(f"The endpoint could not be reached: {outcome['error']}", code="webhook_test_failed")
    return {
        "object": "webhook_endpoint.test",
        "webhook_endpoint_id": endpoint.id,
        "event_type": event_type,
        "status_code": outcome["status"],
        "success": True,
    }


async def _event_types(_request: web.Request) -> dict[str, Any]:
    return {"object": "list", "data": list(EVENT_TYPES)}


def endpoint_routes() -> list[web.RouteDef]:
    """Return the routes of webhook endpoints."""
    one = "/v1/webhook_endpoints/{id}"
    return [
        web.post("/v1/webhook_endpoints", _served(_create)),
        web.get("/v1/webhook_endpoints", _served(_list)),
        web.get(one, _served(_retrieve)),
        web.post(one, _served(_update)),
        web.delete(one, _served(_delete)),
        web.post(f"{one}/rotate_secret", _served(_rotate)),
        web.post(f"{one}/test", _served(_test)),
        web.get("/v1/webhook_event_types", _served(_event_types)),
    ]
