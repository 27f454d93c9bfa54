"""OpenAI's webhook endpoints, by REST (openai-realtime.md#webhook-endpoints)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError

from function.errors import EdgeError
from function.webhook import CALL_INCOMING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from function.openai import JSON, OpenAI

_Model = TypeVar("_Model", bound=BaseModel)

_MAX_PAGES = 100


class Endpoint(BaseModel):
    """A webhook endpoint as OpenAI shows it."""

    id: str
    url: str
    event_types: list[str]
    signing_secret: str | None = Field(default=None, repr=False)
    """Only when it is new."""
    signing_secret_hint: str | None = None

    @property
    def new_secret(self) -> str:
        """The signing secret, just after the endpoint was made or rotated.

        Raises:
            EndpointError: OpenAI left it out.
        """
        if not self.signing_secret:
            raise EndpointError(f"OpenAI did not show the secret of {self.id}: rotate it.")
        return self.signing_secret


class _Page(BaseModel):
    data: list[Endpoint]
    has_more: bool = False
    last_id: str | None = None


class EndpointError(EdgeError):
    """An endpoint is not as it should be; the message says what to do."""


def all_of(openai: OpenAI) -> Iterator[Endpoint]:
    """Yield the project's endpoints, without secrets."""
    after = ""
    for _ in range(_MAX_PAGES):
        page = _read(_Page, openai.request_json("GET", f"/webhook_endpoints?limit=100{after}"))
        yield from page.data
        if not page.has_more or not page.last_id:
            return
        after = f"&after={quote(page.last_id, safe='')}"


def create(openai: OpenAI, url: str, name: str) -> Endpoint:
    """Make an endpoint for incoming calls."""
    body = {"name": name, "url": url, "event_types": [CALL_INCOMING]}
    return _read(Endpoint, openai.request_json("POST", "/webhook_endpoints", body))


def rotate(openai: OpenAI, endpoint_id: str) -> Endpoint:
    """Give an endpoint a new secret; the old one lasts 24 hours."""
    body = {"keep_old_secret_active_for_24_hours": True}
    return _read(Endpoint, openai.request_json("POST", f"{_path(endpoint_id)}/rotate_secret", body))


def delete(openai: OpenAI, endpoint_id: str) -> None:
    """Delete an endpoint."""
    openai.request_json("DELETE", _path(endpoint_id))


def send_test(openai: OpenAI, endpoint_id: str) -> object:
    """Have OpenAI deliver a made-up call; returns the answer's HTTP status."""
    return openai.request_json("POST", f"{_path(endpoint_id)}/test", {"event_type": CALL_INCOMING}).get("status_code")


def _read(model: type[_Model], answer: JSON) -> _Model:
    try:
        return model.model_validate(answer)
    except ValidationError:
        raise EndpointError("OpenAI's answer is not of the documented shape.") from None


def _path(endpoint_id: str) -> str:
    return f"/webhook_endpoints/{quote(endpoint_id, safe='')}"
