"""The edge's routes, in `edge`, which functions-framework serves.

    POST /webhooks/openai   an event of OpenAI's; the same at POST / (a function's bare URL)
    POST /calls             a browser's SDP offer, answered with OpenAI's SDP answer
    POST /calls/{call_id}   a browser registers a call that it made with an ephemeral key
    POST /client-secrets    mints such a key
    GET  /                  says that the process serves

A webhook is answered with 200 once Pub/Sub has the call, or when there is nothing to publish; with 503 when Pub/Sub
fails, so that OpenAI delivers again; and with a 4xx when it is not OpenAI's or makes no sense. The routes for browsers
are served when SESSIONS_FILE is set. docs/edge.md has the rest.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import flask
import functions_framework

from function import logs, request_limits, webhook, webrtc
from function.errors import RequestError, SettingsError, UnavailableError
from function.publisher import Publisher
from function.rotating_secrets import webhook_secrets
from function.settings import Settings, load

if TYPE_CHECKING:
    from function.rotating_secrets import RotatingSecrets

MAX_WEBHOOK_BYTES = 256 * 1024
RETRY_AFTER_SECONDS = 5
CORS_SECONDS = 600  # how long a browser remembers what it may do

logger = logging.getLogger("function")


@dataclass(frozen=True)
class Edge:
    """The routes, and what all requests share."""

    settings: Settings
    secrets: RotatingSecrets
    publisher: Publisher
    browser_calls: webrtc.BrowserCalls | None
    """None: the routes for browsers are not served."""
    sampler: logs.Sampler

    def answer(self, request: flask.Request) -> flask.Response:
        """Answer any request, in JSON or with OpenAI's SDP."""
        origin = request.headers.get("origin", "")
        origin_allowed = origin in self.settings.allowed_origins.split()
        try:
            request_limits.check_head(request)
            response = self._route(request, origin_allowed=origin_allowed)
        except RequestError as error:
            self._log_refusal(error)
            response = _error(error.status, error.code, str(error), error.headers)
        except UnavailableError as error:
            self._log_failure(error)
            retry_after = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            response = _error(error.status, error.code, "it could not be done now: try again", retry_after)
        request_limits.discard_body(request)
        response.headers.update(_cors(origin) if origin_allowed else {})
        return response

    def _route(self, request: flask.Request, *, origin_allowed: bool) -> flask.Response:
        match request.method, request.path.split("/")[1:]:
            case "POST", [""] | ["webhooks", "openai"]:
                return self._openai_webhook(request)
            case "GET" | "HEAD", [""]:
                return _outcome("serving")
            case method, ["calls"] | ["calls", _] | ["client-secrets"] if self.browser_calls:
                if not origin_allowed and "origin" in request.headers:
                    raise RequestError(
                        HTTPStatus.FORBIDDEN, "origin_not_allowed", "this page's origin is not allowed here"
                    )
                if method == "OPTIONS":
                    return flask.Response(status=HTTPStatus.NO_CONTENT)
                if method != "POST":
                    raise _not_allowed("OPTIONS, POST")
                return _browser_call(self.browser_calls, request)
            case _, [""]:
                raise _not_allowed("GET, HEAD, POST")
            case _, ["webhooks", "openai"]:
                raise _not_allowed("POST")
            case _:
                raise RequestError(HTTPStatus.NOT_FOUND, "not_found", "nothing is served at this path")

    def _openai_webhook(self, request: flask.Request) -> flask.Response:
        received_at = time.time()
        body = request_limits.read_body(request, "application/json", MAX_WEBHOOK_BYTES)
        headers = _headers(request)
        webhook.verify(headers, body, secrets=self.secrets.current(), now=received_at)
        event = webhook.read_event(body)
        if not isinstance(event, webhook.CallIncoming):
            return _ignore(event)

        notice = webhook.call_notice(event, headers, received_at=received_at)
        fields: dict[str, object] = {"call_id": notice.call_id, "webhook_id": notice.webhook_id}
        if notice.created_at is not None:
            fields["age_seconds"] = round(received_at - notice.created_at, 3)
            if received_at - notice.created_at > self.settings.max_event_age_seconds:
                logger.warning("Dropped a call: its event comes too late, the caller is gone", extra=fields)
                return _outcome("too_late")
        message_id = self.publisher.publish(notice)
        logger.info("Published a call", extra=fields | {"message_id": message_id})
        return _outcome("published")

    def _log_refusal(self, error: RequestError) -> None:
        """Log some of the refusals, since anybody can cause them."""
        left_out = self.sampler.count(error.code)
        if left_out is not None:
            fields = {"code": error.code} | ({"left_out": left_out} if left_out else {})
            logger.warning("Refused a request: %s", error, extra=fields)

    def _log_failure(self, error: UnavailableError) -> None:
        left_out = self.sampler.count(error.code)
        if left_out is not None:
            fields = {"code": error.code, "call_id": error.call_id} | ({"left_out": left_out} if left_out else {})
            logger.error("Answered %d, so that it is tried again: %s", error.status, error, extra=fields)


def _start() -> Edge:
    """Make what all requests share, or end the process with one line."""
    logs.configure()
    try:
        settings = load(Settings)
        # Webhooks wait for Pub/Sub, browsers for OpenAI; some threads are always left for those that wait for nothing.
        publisher = Publisher(
            settings.topic_path,
            timeout_seconds=settings.publish_timeout_seconds,
            max_waiting=settings.threads // 2,
            emulator_host=settings.pubsub_emulator_host,
        )
        edge = Edge(
            settings,
            webhook_secrets(settings),
            publisher,
            webrtc.browser_calls(settings, publisher, max_waiting=settings.threads // 4),
            logs.Sampler(),
        )
    except SettingsError as error:
        sys.exit(f"The function cannot start: {error}")
    os.environ.setdefault("THREADS", str(settings.threads))  # functions-framework reads it after this
    os.register_at_fork(after_in_child=publisher.warm)
    return edge


EDGE = _start()


@functions_framework.http
def edge(request: flask.Request) -> flask.Response:
    """Answer a request, as functions-framework's target."""
    return EDGE.answer(request)


def _ignore(event: webhook.Event) -> flask.Response:
    why = (
        "the realtime.call.incoming of the same INVITE takes the call, and the first accept decides"
        if event.type in webhook.LIVE_TWINS
        else "it tells of no call"
    )
    logger.info("Let an event go: %s", why, extra={"event_type": event.type[:100]})
    return _outcome("ignored")


def _browser_call(calls: webrtc.BrowserCalls, request: flask.Request) -> flask.Response:
    """Serve a route for browsers; without a good token no body is read."""
    headers = _headers(request)
    claims = calls.authorise(headers)
    match request.path.split("/")[1:]:
        case ["calls"]:
            offer = request_limits.read_body(request, "application/sdp", webrtc.MAX_OFFER_BYTES)
            browser_is_gone = partial(request_limits.client_is_gone, request)
            call = calls.relay(claims, offer, headers, browser_is_gone=browser_is_gone)
            logger.info("Published a call", extra={"call_id": call.call_id, "source": "relay"})
            location = {"Location": f"/calls/{call.call_id}"}
            return flask.Response(call.sdp_answer, HTTPStatus.CREATED, location, content_type="application/sdp")
        case ["calls", call_id]:
            body = request_limits.read_body(request, "application/json", webrtc.MAX_REGISTRATION_BYTES)
            message_id = calls.register(claims, call_id, body, headers)
            logger.info(
                "Published a call",
                extra={"call_id": call_id, "source": "registration", "message_id": message_id},
            )
            return _outcome("published")
        case _:
            secret = calls.create_client_secret(claims)
            return _json(HTTPStatus.OK, secret._asdict(), {"Cache-Control": "no-store"})


def _headers(request: flask.Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _cors(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, traceparent",
        "Access-Control-Expose-Headers": "Location, Retry-After",
        "Access-Control-Max-Age": str(CORS_SECONDS),
        "Vary": "Origin",
    }


def _not_allowed(methods: str) -> RequestError:
    return RequestError(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", f"use {methods}", {"Allow": methods})


def _outcome(outcome: str) -> flask.Response:
    return _json(HTTPStatus.OK, {"outcome": outcome})


def _error(status: HTTPStatus, code: str, message: str, headers: dict[str, str]) -> flask.Response:
    return _json(status, {"error": {"code": code, "message": message}}, headers)


def _json(status: HTTPStatus, document: object, headers: dict[str, str] | None = None) -> flask.Response:
    return flask.Response(json.dumps(document) + "\n", status, headers, mimetype="application/json")
