"""`Options`: how this OpenAI behaves, changeable while calls are running.

Where openai-realtime.md says that a behaviour is uncertain, it is an option here, with the likeliest reading as its
default; in brackets stands the heading there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

HttpError = Annotated[int, Field(ge=400, le=599)]


class Options(BaseModel):
    """How this OpenAI behaves."""

    model_config = ConfigDict(extra="forbid")

    # Keys and webhooks
    api_keys: list[str] = ["sk-test"]
    """The standard keys that are good. Ephemeral `ek_` keys are minted by `client_secrets`."""
    webhook_url: str | None = None
    """Where deliveries go. None: this project has no webhook."""
    webhook_secrets: list[str] = []
    """Each signs every delivery, as during a rotation (#webhook-signature)."""
    webhook_timeout_seconds: float = Field(5, gt=0)
    """How long a delivery may take before it counts as failed: "a few seconds" (#webhook-delivery)."""
    webhook_attempts: int = Field(12, ge=1, le=100)
    """Attempts in all. OpenAI goes on for 72 hours (#webhook-delivery)."""
    webhook_backoff_seconds: float = Field(0.25, gt=0)
    """The wait after the first failure; it doubles each time, up to 30 s (#webhook-delivery)."""
    webhook_copies: int = Field(1, ge=1, le=10)
    """How often each event is delivered, since duplicates happen even after success (#webhook-delivery)."""
    webhook_delay_seconds: float = Field(0, ge=0, le=3600)
    """How late the first attempt starts; the caller rings meanwhile (#webhook-delivery)."""
    live_twin: bool = False
    """Also deliver `live.transport.incoming` for the same INVITE (#live-twins)."""
    sip_media_security: Literal["rtp", "srtp"] | None = "srtp"
    """The newest webhook field; None leaves it out (#webhook-events)."""

    # The caller
    speed: float = Field(50, gt=0)
    """How many times faster than life people and models speak. 1 is real time."""
    ring_seconds: float = Field(30, gt=0)
    """How long a caller lets it ring (#accept)."""
    hello_seconds: float = Field(1, ge=0)
    """How long after the first attach a caller waits to be greeted before they speak first. Real seconds."""
    patience_seconds: float = Field(30, gt=0)
    """How long a caller waits for the model, a tool or an owner before the script goes on. Real seconds."""
    webrtc_script: list[dict[str, Any]] = []
    """The script of calls made by `POST /v1/realtime/calls`."""

    webrtc_media: bool = False
    """Answer browsers by a real peer connection (aiortc) that carries events; otherwise the SDP only looks like it."""

    # Decisions
    second_accept: Literal["refuse", "allow"] = "refuse"
    """What a second accept of a living call gets (#second-decisions)."""
    second_decision_status: HttpError = 409
    """The status of a refused second accept, and of a reject after accept (#second-decisions)."""
    accept_after_caller_gone: Literal["refuse", "allow"] = "refuse"
    """Refuse: 404. Allow: 200, and the session talks to nobody (#accept)."""
    unusable_accept: Literal["refuse", "swallow"] = "refuse"
    """What an accept with an invalid session gets: 400, or 200 and then a call that fails (#accept)."""
    sip_vad_numbers: Literal["refuse", "allow"] = "refuse"
    """Whether an SIP accept may carry `threshold`, `prefix_padding_ms` or `silence_duration_ms` (#sip-accept)."""
    refer: Literal["transfer", "no_effect"] = "transfer"
    """What follows the 200: the call leaves, or nothing at all (#refer)."""
    refer_ms: float = Field(300, ge=0)
    """How long a transfer takes. Real milliseconds."""
    refer_webrtc_status: HttpError = 400
    """What `refer` answers on a WebRTC call (#refer)."""

    # The sideband
    attachable_after_ms: float = Field(0, ge=0)
    """How long after accept or creation an attach still gets 404 (#when-attachable). Real milliseconds."""
    second_attach: Literal["allow", "refuse"] = "allow"
    """Whether a second socket may attach beside a living one (#several-sidebands)."""
    second_attach_status: HttpError = 409
    ended_attach_status: Literal[404, 410] = 404
    """What an attach to an ended call gets (#when-attachable)."""
    ephemeral_calls_attach_with: Literal["either", "standard", "ephemeral"] = "either"
    """Which key may attach to a call that an `ek_` key made; the other gets 404 (#which-key)."""
    session_created_on_attach: bool = False
    """Whether an attach is answered by `session.created` (#first-events)."""
    close_style: Literal["drop", "clean"] = "drop"
    """How sockets go at a call's end: TCP closes without a close frame, or a close frame with 1000 (#close)."""
    close_after_hangup_ms: float = Field(0, ge=0)
    """How long after the 200 of a hangup the sockets go (#hang-up). Real milliseconds."""
    session_seconds: float = Field(3600, gt=0)
    """The hard limit of a session (#session-limit)."""

    # Events
    rate_limits: Literal["after_done", "at_start"] = "after_done"
    """Where `rate_limits.updated` comes: as recorded, or as documented (#server-events)."""
    novelties: bool = False
    """Put an unknown field into every event, and an unknown event after every `response.created` (#server-events)."""
    out_of_band_text: str = "Noted."
    """What a `conversation:"none"` response says."""
    mcp_servers: dict[str, list[dict[str, Any]] | None] = {}
    """The tools of each hosted MCP server; None: listing fails (#hosted-mcp-tools). Others have none."""
    speaks_after_mcp: bool = True
    """Whether the model goes on speaking in the response that held an `mcp_call` (#hosted-mcp-tools)."""

    # The log
    log_path: str | None = None
    """A file to which every log entry is appended, as one JSON line each. Read at the start only."""
    log_entries: int = Field(1_000_000, ge=1000)
    """How many entries are kept in memory, at least; the oldest go first."""

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> Options:
        if self.webhook_url and not self.webhook_secrets:
            raise ValueError("webhook_secrets: give at least one whsec_ secret to sign deliveries with")
        return self

    def change(self, changes: dict[str, Any]) -> None:
        """Change some options of a running stand-in, all or none.

        Raises:
            pydantic.ValidationError: an option is unknown or its value is bad; nothing was changed.
        """
        valid = type(self).model_validate({**self.model_dump(), **changes})
        for name in changes:
            setattr(self, name, getattr(valid, name))
