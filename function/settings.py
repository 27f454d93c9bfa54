"""What the function is told by its environment, checked before it serves."""

from __future__ import annotations

import binascii
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict
from standardwebhooks import Webhook

from function.errors import SettingsError

MIN_TOKEN_SECRET_BYTES = 32  # RFC 7518, 3.2: as long as the hash


def check_webhook_secret(secret: str) -> None:
    """Raise ValueError if this is no signing secret of a webhook; it is not repeated."""
    if not re.fullmatch(r"whsec_[A-Za-z0-9+/]+={0,2}", secret):
        raise ValueError("not whsec_ and base64")
    try:
        Webhook(secret)
    except binascii.Error:
        raise ValueError("cut short: what follows whsec_ is not whole base64") from None


def check_token_secret(secret: str) -> None:
    """Raise ValueError if this is too short to sign tokens with."""
    if len(secret.encode()) < MIN_TOKEN_SECRET_BYTES:
        raise ValueError(f"shorter than {MIN_TOKEN_SECRET_BYTES} bytes")


def _webhook_secrets(value: SecretStr) -> SecretStr:
    for secret in value.get_secret_value().split() or [""]:
        check_webhook_secret(secret)
    return value


def _token_secrets(value: SecretStr) -> SecretStr:
    for secret in value.get_secret_value().split() or [""]:
        check_token_secret(secret)
    return value


def _origins(value: str) -> str:
    for origin in value.split():
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or origin != f"{parts.scheme}://{parts.netloc}" or "*" in origin:
            raise ValueError("an origin is written https://HOST, without a path and without *")
    return value


def _http_url(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise ValueError("not a URL")
    return value.rstrip("/")


_MISSING = PydanticCustomError("missing", "Field required")


class Settings(BaseSettings):
    """One environment variable for each field, its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, str_strip_whitespace=True)

    openai_webhook_secret_file: Path | None = Field(
        default=None,
        description="a file with OpenAI's signing secrets, such as a mounted secret of Secret Manager; read again "
        "each minute",
    )
    openai_webhook_secret: Annotated[SecretStr, AfterValidator(_webhook_secrets)] | None = Field(
        default=None,
        validate_default=True,
        description="the signing secret of OpenAI's webhook endpoint (whsec_...), or several separated by spaces "
        "during a rotation; required unless OPENAI_WEBHOOK_SECRET_FILE is set",
    )
    google_cloud_project: str = Field(
        pattern=r"^[a-z][a-z0-9.:-]+$", description="the id of the Google Cloud project, such as my-project"
    )
    calls_topic: str = Field(
        pattern=r"^(projects/[^/\s]+/topics/)?[A-Za-z][A-Za-z0-9._~+%-]{2,254}$",
        description="the Pub/Sub topic of the calls, as an id or as projects/PROJECT/topics/TOPIC",
    )
    publish_timeout_seconds: float = Field(
        default=5, gt=0, le=30, description="how long a webhook waits for Pub/Sub, in seconds"
    )
    max_event_age_seconds: int = Field(
        # SIP proxies give an unanswered INVITE three minutes (RFC 3261, timer C): no caller waits longer.
        default=180,
        gt=0,
        description="how old a call's event may be, in seconds; older ones come from a late retry and are dropped",
    )
    threads: int = Field(
        default=32,
        ge=4,
        le=1000,
        description="how many requests are served at once; set the service's concurrency (Cloud Run: "
        "max_instance_request_concurrency) to the same number",
    )

    sessions_file: Path | None = Field(
        default=None,
        description="the agents' sessions, as python -m sideband.sessions writes them; turns calls from browsers on, "
        "and then the settings below are needed too",
    )
    openai_api_key: SecretStr | None = Field(
        default=None,
        validate_default=True,
        description="the key of the OpenAI project in which calls from browsers are made",
    )
    openai_base_url: Annotated[str, AfterValidator(_http_url)] = Field(
        default="https://api.openai.com/v1",
        description="OpenAI's REST API; for European residency https://eu.api.openai.com/v1",
    )
    openai_timeout_seconds: float = Field(
        default=15, gt=0, le=60, description="how long a browser waits for OpenAI, in seconds"
    )
    token_secret: Annotated[SecretStr, AfterValidator(_token_secrets)] | None = Field(
        default=None,
        description="what your backend signs browsers' tokens with (HS256), at least 32 bytes, or several secrets "
        "separated by spaces during a rotation",
    )
    token_secret_file: Path | None = Field(default=None, description="a file with such secrets, read again each minute")
    token_jwks_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        default=None,
        validate_default=True,
        description="the URL of the public keys (JWKS) of who signs browsers' tokens with RS256, instead of a secret",
    )
    token_audience: str = Field(default="sideband", min_length=1, description="what tokens must have as their aud")
    allowed_origins: Annotated[str, AfterValidator(_origins)] = Field(
        default="",
        description="the origins whose pages may call, such as https://shop.example, separated by spaces",
    )

    pubsub_emulator_host: str | None = Field(
        default=None, description="the host:port of a Pub/Sub emulator; unset means Google's service"
    )

    @field_validator("openai_webhook_secret")
    @classmethod
    def _from_somewhere(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and not info.data.get("openai_webhook_secret_file"):
            raise _MISSING
        return value

    @field_validator("openai_api_key")
    @classmethod
    def _with_sessions(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("sessions_file"):
            raise _MISSING
        return value

    @field_validator("token_jwks_url")
    @classmethod
    def _one_way_to_check_tokens(cls, value: str | None, info: ValidationInfo) -> str | None:
        shared = info.data.get("token_secret") or info.data.get("token_secret_file")
        if value and shared:
            raise ValueError("TOKEN_SECRET is set too, and only one of them can be")
        if not value and not shared and info.data.get("sessions_file"):
            raise ValueError("neither it nor TOKEN_SECRET is set")
        return value

    @property
    def topic_path(self) -> str:
        """The topic's full name."""
        if "/" in self.calls_topic:
            return self.calls_topic
        return f"projects/{self.google_cloud_project}/topics/{self.calls_topic}"


def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: some are missing or malformed; the message names each of them and says what to set.
    """
    try:
        return Settings()
    except ValidationError as error:
        complaints = [_complaint(str(found["loc"][0]), found["type"], found["msg"]) for found in error.errors()]
        raise SettingsError("; ".join(complaints)) from None


def _complaint(field: str, kind: str, reason: str) -> str:
    problem = "is not set" if kind == "missing" else f"is malformed ({reason.removeprefix('Value error, ')})"
    return f"{field.upper()} {problem}: set it to {Settings.model_fields[field].description}"
