"""The webhook endpoints that are managed by API (openai-realtime.md#webhook-endpoints)."""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emulator.openai.errors import ApiError
from emulator.openai.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL_INCOMING = "realtime.call.incoming"
LIVE_INCOMING = "live.transport.incoming"
EVENT_TYPES = (
    CALL_INCOMING,
    LIVE_INCOMING,
    "live.transport.connected",
    "response.completed",
    "batch.completed",
)
OLD_SECRET_SECONDS = 24 * 3600
SECRET_BYTES = 32


def new_secret() -> str:
    """Make a signing secret as OpenAI does."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


class EndpointSettings(BaseModel):
    """What a client sets of an endpoint."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    url: str = Field(pattern="^https?://")
    event_types: list[str] = Field(min_length=1)


@dataclass
class Endpoint:
    """One endpoint."""

    settings: EndpointSettings
    id: str = field(default_factory=lambda: new_id("we"))
    created_at: int = field(default_factory=lambda: int(time.time()))
    signing_secret: str = field(default_factory=new_secret)
    old_secret: str | None = None
    old_until: float = 0

    def secrets(self) -> list[str]:
        """Return what deliveries are signed with now."""
        old = [self.old_secret] if self.old_secret and time.time() < self.old_until else []
        return [self.signing_secret, *old]

    def rotate(self, *, keep_old: bool) -> None:
        """Sign with a new secret, and for 24 hours with the old, if kept."""
        self.old_secret = self.signing_secret if keep_old else None
        self.old_until = time.time() + OLD_SECRET_SECONDS
        self.signing_secret = new_secret()

    def as_dict(self, *, with_secret: bool = False) -> dict[str, Any]:
        """Return the endpoint as the API shows it."""
        shown = {
            "id": self.id,
            "object": "webhook_endpoint",
            "created_at": self.created_at,
            **self.settings.model_dump(),
        }
        shown["signing_secret_hint"] = f"whsec_...{self.signing_secret[-4:]}"
        return shown | ({"signing_secret": self.signing_secret} if with_secret else {})


class Endpoints:
    """All endpoints of the project."""

    def __init__(self) -> None:
        self._endpoints: dict[str, Endpoint] = {}

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(tuple(self._endpoints.values()))

    def create(self, settings: dict[str, Any]) -> Endpoint:
        """Make an endpoint.

        Raises:
            ApiError: the settings are not valid.
        """
        endpoint = Endpoint(_checked(settings))
        self._endpoints[endpoint.id] = endpoint
        return endpoint

    def update(self, endpoint_id: str, changes: dict[str, Any]) -> Endpoint:
        """Change an endpoint.

        Raises:
            ApiError: there is no such endpoint, or the changes are not valid.
        """
        endpoint = self.find(endpoint_id)
        endpoint.settings = _checked({**endpoint.settings.model_dump(), **changes})
        return endpoint

    def find(self, endpoint_id: str) -> Endpoint:
        """Find the endpoint with this id.

        Raises:
            ApiError: there is none.
        """
        if endpoint_id not in self._endpoints:
            raise ApiError(f"No webhook endpoint found with id '{endpoint_id}'.", code="not_found", status=404)
        return self._endpoints[endpoint_id]

    def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint.

        Raises:
            ApiError: there is none.
        """
        del self._endpoints[self.find(endpoint_id).id]

    def listening(self, event_type: str) -> list[Endpoint]:
        """Find the endpoints that want events of this type."""
        return [endpoint for endpoint in self if event_type in endpoint.settings.event_types]


def sample_event(event_type: str) -> dict[str, Any]:
    """Make the event that a test delivers, of no real call."""
    data: dict[str, Any] = {"id": new_id("sample")}
    if event_type == CALL_INCOMING:
        headers = [{"name": "From", "value": "sip:+15550100@sip.example.com"}]
        data = {"call_id": new_id("rtc_test"), "sip_headers": headers}
    event = {"object": "event", "id": new_id("evt"), "type": event_type, "created_at": int(time.time())}
    return {**event, "data": data}


def _checked(settings: dict[str, Any]) -> EndpointSettings:
    try:
        checked = EndpointSettings.model_validate(settings)
    except ValidationError as error:
        found = error.errors()[0]
        place = str(found["loc"][0])
        raise ApiError(f"Invalid '{place}': {found['msg']}", code="invalid_value", param=place) from None
    unknown = set(checked.event_types) - set(EVENT_TYPES)
    if unknown:
        raise ApiError(f"Unknown event type: {min(unknown)}", code="invalid_value", param="event_types")
    return checked
