"""The message between function and supervisors: one `CallNotice` for each call.

The function publishes it, so the function owns it. It is JSON in the Pub/Sub message's data; `schema`, `surface` and
`transport` stand as attributes too, so that a subscription can filter on them.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

SCHEMA = 1
# Ids of calls are opaque, but hold nothing that would change the meaning of a URL.
CALL_ID = re.compile(r"(?!\.{1,2}$)[!\"$&-.0->@-\[\]-~]{1,256}")
_CONFIG = ConfigDict(
    extra="ignore",
    validate_by_name=True,
    serialize_by_alias=True,
    cache_strings="keys",  # pydantic would keep values too, callers' numbers among them, when the call is long over
)


@dataclass(config=_CONFIG, frozen=True, slots=True, kw_only=True)
class CallNotice:
    """A call that a supervisor is to take.

    Everything in it but `context` comes from outside and is untrusted. Fields that this version does not know are
    ignored, so that a newer function can talk to an older supervisor during a deploy.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema")
    call_id: str = Field(min_length=1, max_length=256)
    """OpenAI's id of the call, opaque, such as `rtc_u0_E6mH7Y`."""
    surface: Literal["realtime", "live"] = "realtime"
    transport: Literal["sip", "webrtc"] = "sip"
    source: Literal["webhook", "relay", "registration"] = "webhook"
    webhook_id: str | None = None
    """The delivery's id (`webhook-id`), the same for every retry of one delivery."""
    event_id: str | None = None
    created_at: int | None = None
    """When OpenAI made the event, in Unix seconds."""
    received_at: float | None = None
    """When the function received it, in Unix seconds."""
    sip_headers: list[tuple[str, str]] = Field(default_factory=list)
    """The INVITE's headers in order, repeats kept. Untrusted."""
    sip_media_security: str | None = None
    client_secret: str | None = Field(default=None, repr=False)
    """The ephemeral key that made the call; only when a browser registered the call itself."""
    context: dict[str, Any] = Field(default_factory=dict)
    """Claims that the application's own backend vouched for, never the caller."""
    traceparent: str | None = None
    """The W3C trace context of the request that brought the call."""

    def data(self) -> bytes:
        """Return the Pub/Sub message's data: JSON of the fields that are set."""
        return _NOTICE.dump_json(self, exclude_none=True)

    def attributes(self) -> dict[str, str]:
        """Return the Pub/Sub message's attributes."""
        return {"schema": str(self.schema_version), "surface": self.surface, "transport": self.transport}

    @staticmethod
    def parse(data: bytes) -> CallNotice:
        """Read a notice from a Pub/Sub message's data.

        Raises:
            pydantic.ValidationError: the data is not a notice.
        """
        return _NOTICE.validate_json(data)


_NOTICE = TypeAdapter(CallNotice)
