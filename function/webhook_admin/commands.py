"""What an operator does with OpenAI's webhook: create, show, rotate, delete, test.

Each function yields lines for the operator, and raises an `EdgeError` whose message is one more when it fails.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from function.errors import EdgeError
from function.openai import OpenAI
from function.webhook import CALL_INCOMING
from function.webhook_admin import endpoints
from function.webhook_admin.endpoints import EndpointError
from function.webhook_admin.notice_watch import NoticeWatch
from function.webhook_admin.secret_manager import SecretManager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from function.webhook_admin.settings import Settings

REQUEST_SECONDS = 20
NOTICE_SECONDS = 20


def create(settings: Settings, url: str, *, name: str = "sideband", secret: str | None = None) -> Iterator[str]:
    """Make an endpoint for calls, unless one is at this URL.

    Args:
        settings: The command's.
        url: The function's address, with /webhooks/openai.
        name: What the endpoint is called in OpenAI's settings.
        secret: Where Secret Manager keeps the signing secret; None: it is shown, once.
    """
    openai, store = _openai(settings), _store(settings, secret)
    existing = next((endpoint for endpoint in endpoints.all_of(openai) if endpoint.url == url), None)
    if existing:
        yield f"{existing.id} is at {url} already; its secret was shown when it was made. To get another: rotate"
        return
    endpoint = endpoints.create(openai, url, name)
    yield f"made {endpoint.id} for {CALL_INCOMING} at {url}"
    if store is None:
        yield from _show_secret(endpoint.new_secret)
        return
    try:
        version = store.add(endpoint.new_secret)
    except EdgeError as error:
        endpoints.delete(openai, endpoint.id)
        raise EndpointError(f"{error} Its endpoint was deleted again.") from error
    yield f"kept its secret in {version}"


def show(settings: Settings) -> Iterator[str]:
    """List the project's endpoints, without secrets."""
    count = 0
    for endpoint in endpoints.all_of(_openai(settings)):
        count += 1
        events, hint = " ".join(endpoint.event_types), endpoint.signing_secret_hint or ""
        yield f"{endpoint.id}  {endpoint.url}  {events}  {hint}".rstrip()
    if not count:
        yield "there are no webhook endpoints"


def as_json(settings: Settings) -> list[dict[str, object]]:
    """List the project's endpoints as JSON objects, without secrets."""
    return [endpoint.model_dump(exclude={"signing_secret"}) for endpoint in endpoints.all_of(_openai(settings))]


def rotate(settings: Settings, endpoint_id: str, *, secret: str | None = None) -> Iterator[str]:
    """Give an endpoint a new secret; the old one lasts 24 hours.

    Both are kept, until the next rotation.

    Args:
        settings: The command's.
        endpoint_id: As `show` lists it.
        secret: Where Secret Manager keeps the signing secret; None: it is shown, once.
    """
    openai, store = _openai(settings), _store(settings, secret)
    old = store.latest().split() if store else []
    endpoint = endpoints.rotate(openai, endpoint_id)
    yield f"rotated {endpoint_id}; the old secret is good for another 24 hours"
    if store is None:
        yield from _show_secret(endpoint.new_secret)
        return
    try:
        version = store.add(" ".join([endpoint.new_secret, *old[:1]]))
    except EdgeError as error:
        yield str(error)
        yield from _show_secret(endpoint.new_secret)
        raise EndpointError("Store it yourself: it is shown only once.") from error
    yield f"kept the new secret and the old one in {version}; a function that mounts it knows within a minute"


def delete(settings: Settings, endpoint_id: str) -> Iterator[str]:
    """Delete an endpoint."""
    endpoints.delete(_openai(settings), endpoint_id)
    yield f"deleted {endpoint_id}"


def test(settings: Settings, endpoint_id: str, *, topic: str) -> Iterator[str]:
    """Have OpenAI deliver a made-up call, and see its notice arrive.

    Args:
        settings: The command's.
        endpoint_id: As `show` lists it.
        topic: The topic of the calls, as projects/PROJECT/topics/TOPIC.
    """
    watch = NoticeWatch(topic, emulator_host=settings.pubsub_emulator_host)
    with watch as notices:
        status = endpoints.send_test(_openai(settings), endpoint_id)
        yield f"OpenAI sent a test event to {endpoint_id}: it was answered with {status}"
        if status != HTTPStatus.OK:
            raise EndpointError("The function did not take it: see its log. A 401 means that it has another secret.")
        notice = notices.next(within_seconds=NOTICE_SECONDS)
    if notice is None:
        raise EndpointError(f"No notice came out of {topic} within {NOTICE_SECONDS} s: see the function's log.")
    yield f"it arrived as a notice on {topic}: call {notice.call_id}, delivery {notice.webhook_id}"


def _openai(settings: Settings) -> OpenAI:
    return OpenAI(settings.openai_api_key, settings.openai_base_url, timeout_seconds=REQUEST_SECONDS)


def _store(settings: Settings, secret: str | None) -> SecretManager | None:
    return SecretManager(secret, settings.secret_manager_url) if secret else None


def _show_secret(secret: str) -> Iterator[str]:
    yield "its secret, which is shown only this once:"
    yield f"OPENAI_WEBHOOK_SECRET={secret}"
