"""The edge's routes, in `edge`, which functions-framework serves.

    POST /webhooks/openai   an event of OpenAI's; the same at POST / (a function's bare URL)
    GET  /                  says that the process serves

A webhook is answered with 200 once Pub/Sub has the call, or when there is nothing to publish; with 503 when Pub/Sub
fails, so that OpenAI delivers again; and with a 4xx when it is not OpenAI's or makes no sense.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from http import HTTPStatus

import flask
import functions_framework
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from function import logs, webhook
from function.errors import PublishError, RequestError, SettingsError
from function.publisher import Publisher
from function.settings import load

MAX_BODY_BYTES = 256 * 1024
RETRY_AFTER_SECONDS = 5

logs.configure()
logger = logging.getLogger("function")

try:
    settings = load()
except SettingsError as error:
    sys.exit(f"The function cannot start. {error}")
publisher = Publisher(
    settings.topic_path,
    timeout_seconds=settings.publish_timeout_seconds,
    emulator_host=settings.pubsub_emulator_host,
)


@functions_framework.http
def edge(request: flask.Request) -> flask.Response:
    """Answer any request; whatever it holds, the answer is JSON."""
    try:
        body = _read_body(request)
        return _route(request, body)
    except RequestError as error:
        logger.warning("Refused a request: %s", error, extra={"code": error.code})
        return _error(error.status, error.code, str(error), error.headers)
    except PublishError as error:
        return _unavailable(error)


def _route(request: flask.Request, body: bytes) -> flask.Response:
    match request.method, request.path:
        case "POST", "/" | "/webhooks/openai":
            return _openai_webhook(request, body)
        case "GET" | "HEAD", "/":
            return _answer("serving")
        case _, "/":
            raise _not_allowed("GET, HEAD, POST")
        case _, "/webhooks/openai":
            raise _not_allowed("POST")
        case _:
            raise RequestError(HTTPStatus.NOT_FOUND, "not_found", "nothing is served at this path")


def _openai_webhook(request: flask.Request, body: bytes) -> flask.Response:
    received_at = time.time()
    if request.mimetype != "application/json":
        raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "send application/json")
    headers = {name.lower(): value for name, value in request.headers.items()}
    webhook.verify(headers, body, secrets=settings.webhook_secrets, now=received_at)
    event = webhook.read_event(body)
    if not isinstance(event, webhook.CallIncoming):
        return _let_go(event)

    notice = webhook.call_notice(event, headers, received_at=received_at)
    told: dict[str, object] = {"call_id": notice.call_id, "webhook_id": notice.webhook_id}
    if notice.created_at is not None:
        told["age_seconds"] = round(received_at - notice.created_at, 3)
        if received_at - notice.created_at > settings.max_event_age_seconds:
            logger.warning("Dropped a call: its event comes too late, the caller is gone", extra=told)
            return _answer("too_late")
    message_id = publisher.publish(notice)
    logger.info("Published a call", extra=told | {"message_id": message_id})
    return _answer("published")


def _let_go(event: webhook.Event) -> flask.Response:
    why = (
        "the realtime.call.incoming of the same INVITE takes the call, and the first accept decides"
        if event.type in webhook.LIVE_TWINS
        else "it tells of no call"
    )
    logger.info("Let an event go: %s", why, extra={"event_type": event.type[:100]})
    return _answer("ignored")


def _read_body(request: flask.Request) -> bytes:
    """Read the whole body, and never more than a byte over the bound, whether its length was declared or not."""
    request.max_content_length = MAX_BODY_BYTES + 1
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        body = None
    except (ClientDisconnected, ParseException):
        request.stream = io.BytesIO()
        raise RequestError(HTTPStatus.BAD_REQUEST, "invalid_body", "the body broke off or is badly framed") from None
    if body is None or len(body) > MAX_BODY_BYTES:
        # functions-framework reads what is left of a body before it answers; here it shall not.
        request.stream = io.BytesIO()
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", f"the body is over {MAX_BODY_BYTES} bytes"
        )
    return body


def _unavailable(error: PublishError) -> flask.Response:
    logger.error("Answered 503, so that the event comes again: %s", error, extra={"call_id": error.call_id})
    retry_after = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return _error(HTTPStatus.SERVICE_UNAVAILABLE, "publish_failed", "the call could not be handed on", retry_after)


def _not_allowed(methods: str) -> RequestError:
    return RequestError(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", f"use {methods}", {"Allow": methods})


def _answer(outcome: str) -> flask.Response:
    return flask.Response(json.dumps({"outcome": outcome}) + "\n", mimetype="application/json")


def _error(status: HTTPStatus, code: str, message: str, headers: dict[str, str]) -> flask.Response:
    line = json.dumps({"error": {"code": code, "message": message}}) + "\n"
    return flask.Response(line, status, headers, mimetype="application/json")
