"""Managing OpenAI's webhook endpoints (reference 1.6), with their signing secrets in Secret Manager if one is named.

What each function yields is said to whoever runs the command, line by line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError

from function.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from function.openai import JSON, OpenAI
    from function.webhook_admin.notice_watch import TopicWatch
    from function.webhook_admin.secret_manager import SecretManager

Model = TypeVar("Model", bound=BaseModel)

CALL_INCOMING = "realtime.call.incoming"
MAX_PAGES = 100
NOTICE_SECONDS = 20


class Endpoint(BaseModel):
    """A webhook endpoint as OpenAI shows it."""

    id: str
    url: str
    event_types: list[str]
    signing_secret: str | None = Field(default=None, repr=False)
    """Only when it is new."""
    signing_secret_hint: str | None = None


class Page(BaseModel):
    """A page of a list of endpoints."""

    data: list[Endpoint]
    has_more: bool = False
    last_id: str | None = None


class EndpointError(EdgeError):
    """A webhook endpoint is not what it was asked to be; the message says what to do."""


def create(openai: OpenAI, url: str, name: str, store: SecretManager | None) -> Iterator[str]:
    """Make an endpoint for incoming calls, unless there is one at this URL."""
    existing = next((endpoint for endpoint in _all(openai) if endpoint.url == url), None)
    if existing:
        yield f"{existing.id} is at {url} already; its secret was told when it was made. To get another: rotate"
        return
    wish = {"name": name, "url": url, "event_types": [CALL_INCOMING]}
    made = _read(Endpoint, openai.ask_json("POST", "/webhook_endpoints", wish))
    yield f"made {made.id} for {CALL_INCOMING} at {url}"
    if store is None:
        yield from _told_once(_secret_of(made))
        return
    try:
        version = store.add(_secret_of(made))
    except EdgeError as error:
        openai.ask_json("DELETE", _path(made.id))
        raise EndpointError(f"{error} Its endpoint was deleted again.") from error
    yield f"kept its secret in {version}"


def show(openai: OpenAI) -> Iterator[str]:
    """All endpoints of the project, without secrets."""
    count = 0
    for endpoint in _all(openai):
        count += 1
        events, hint = " ".join(endpoint.event_types), endpoint.signing_secret_hint or ""
        yield f"{endpoint.id}  {endpoint.url}  {events}  {hint}".rstrip()
    if not count:
        yield "there are no webhook endpoints"


def rotate(openai: OpenAI, endpoint_id: str, store: SecretManager | None) -> Iterator[str]:
    """Give an endpoint a new secret; the old one signs as well for 24 hours, and both are kept until the next time."""
    old = store.latest().split() if store else []
    path = f"{_path(endpoint_id)}/rotate_secret"
    made = _read(Endpoint, openai.ask_json("POST", path, {"keep_old_secret_active_for_24_hours": True}))
    yield f"rotated {endpoint_id}; the old secret is good for another 24 hours"
    if store is None:
        yield from _told_once(_secret_of(made))
        return
    try:
        version = store.add(" ".join([_secret_of(made), *old[:1]]))
    except EdgeError as error:
        yield str(error)
        yield from _told_once(_secret_of(made))
        raise EndpointError("Store it yourself: it is told only once.") from error
    yield f"kept the new secret and the old one in {version}; a function that mounts it knows within a minute"


def delete(openai: OpenAI, endpoint_id: str) -> Iterator[str]:
    """Take an endpoint away."""
    openai.ask_json("DELETE", _path(endpoint_id))
    yield f"deleted {endpoint_id}"


def test(openai: OpenAI, endpoint_id: str, watch: TopicWatch) -> Iterator[str]:
    """Have OpenAI send an incoming call that there is not, and see that it comes out of Pub/Sub as a notice."""
    with watch as notices:
        result = openai.ask_json("POST", f"{_path(endpoint_id)}/test", {"event_type": CALL_INCOMING})
        status = result.get("status_code")
        yield f"OpenAI sent a test event to {endpoint_id}: it was answered with {status}"
        if status != 200:  # noqa: PLR2004 - HTTP's own
            raise EndpointError("The function did not take it: see its log. A 401 means that it has another secret.")
        notice = notices.next(within_seconds=NOTICE_SECONDS)
    if notice is None:
        raise EndpointError(
            f"No notice came out of {watch.topic_path} within {NOTICE_SECONDS} s: see the function's log."
        )
    yield f"it arrived as a notice on {watch.topic_path}: call {notice.call_id}, delivery {notice.webhook_id}"


def _all(openai: OpenAI) -> Iterator[Endpoint]:
    after = ""
    for _ in range(MAX_PAGES):
        page = _read(Page, openai.ask_json("GET", f"/webhook_endpoints?limit=100{after}"))
        yield from page.data
        if not page.has_more or not page.last_id:
            return
        after = f"&after={quote(page.last_id, safe='')}"


def _read(model: type[Model], answer: JSON) -> Model:
    try:
        return model.model_validate(answer)
    except ValidationError:
        raise EndpointError(f"OpenAI's answer is not a webhook {model.__name__.lower()}.") from None


def _secret_of(endpoint: Endpoint) -> str:
    if not endpoint.signing_secret:
        raise EndpointError(f"OpenAI did not tell the secret of {endpoint.id}: rotate it.")
    return endpoint.signing_secret


def _path(endpoint_id: str) -> str:
    return f"/webhook_endpoints/{quote(endpoint_id, safe='')}"


def _told_once(secret: str) -> Iterator[str]:
    yield "its secret, which is told only this once:"
    yield f"OPENAI_WEBHOOK_SECRET={secret}"
