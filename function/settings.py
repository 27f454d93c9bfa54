"""The function's settings, read from the environment and checked at start."""

from __future__ import annotations

import binascii
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from standardwebhooks import Webhook

from function.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MIN_TOKEN_SECRET_BYTES = 32  # RFC 7518, 3.2: as long as the hash
REQUIRED = "Field required"
_PROJECT = re.compile(r"[a-z][a-z0-9.:-]+")
_TOPIC = re.compile(r"(projects/[^/\s]+/topics/)?[A-Za-z][A-Za-z0-9._~+%-]{2,254}")


class Settings(BaseSettings):
    """All settings of the function. Names carry their unit."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        str_strip_whitespace=True,
        use_attribute_docstrings=True,
    )

    openai_webhook_secret_file: Path | None = None
    """A file with OpenAI's signing secrets, such as a mounted secret of Secret Manager; read again each minute."""
    openai_webhook_secret: SecretStr | None = Field(default=None, validate_default=True)
    """The signing secret of OpenAI's webhook endpoint (whsec_...), or several separated by spaces during a rotation;
    required unless OPENAI_WEBHOOK_SECRET_FILE is set."""
    google_cloud_project: str
    """The id of the Google Cloud project, such as my-project."""
    calls_topic: str
    """The Pub/Sub topic of the calls, as an id or as projects/PROJECT/topics/TOPIC."""
    publish_timeout_seconds: float = Field(default=5, gt=0, le=30)
    """How long a webhook waits for Pub/Sub, in seconds."""
    # SIP proxies give an unanswered INVITE three minutes (RFC 3261, timer C): no caller waits longer.
    max_event_age_seconds: int = Field(default=180, gt=0)
    """How old a call's event may be, in seconds; older ones come from a late retry and are dropped."""
    threads: int = Field(default=32, ge=4, le=1000)
    """How many requests are served at once; set the service's concurrency (Cloud Run: max_instance_request_concurrency)
    to the same number."""

    sessions_file: Path | None = None
    """The agents' sessions, as sideband sessions writes them; turns calls from browsers on, and then the
    settings below are needed too."""
    openai_api_key: SecretStr | None = Field(default=None, validate_default=True)
    """The key of the OpenAI project in which calls from browsers are made."""
    openai_base_url: str = "https://api.openai.com/v1"
    """OpenAI's REST API; for European residency https://eu.api.openai.com/v1."""
    openai_timeout_seconds: float = Field(default=15, gt=0, le=60)
    """How long a browser waits for OpenAI, in seconds."""
    token_secret: SecretStr | None = None
    """What your backend signs browsers' tokens with (HS256), at least 32 bytes, or several secrets separated by spaces
    during a rotation."""
    token_secret_file: Path | None = None
    """A file with such secrets, read again each minute."""
    token_jwks_url: str | None = Field(default=None, validate_default=True)
    """The URL of the public keys (JWKS) of who signs browsers' tokens with RS256, instead of a secret."""
    token_audience: str = Field(default="sideband", min_length=1)
    """What tokens must have as their aud."""
    allowed_origins: str = ""
    """The origins whose pages may call, such as https://shop.example, separated by spaces."""

    pubsub_emulator_host: str | None = None
    """The host:port of a Pub/Sub emulator; unset means Google's service."""

    @field_validator("openai_webhook_secret")
    @classmethod
    def _webhook_secrets(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and not info.data.get("openai_webhook_secret_file"):
            raise ValueError(REQUIRED)
        for secret in _split(value):
            check_webhook_secret(secret)
        return value

    @field_validator("google_cloud_project")
    @classmethod
    def _project(cls, value: str) -> str:
        if not _PROJECT.fullmatch(value):
            raise ValueError("write the project's id")
        return value

    @field_validator("calls_topic")
    @classmethod
    def _topic(cls, value: str) -> str:
        if not _TOPIC.fullmatch(value):
            raise ValueError("write the topic's id, or projects/PROJECT/topics/ID")
        return value

    @field_validator("openai_api_key")
    @classmethod
    def _key_for_sessions(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None and info.data.get("sessions_file"):
            raise ValueError(REQUIRED)
        return value

    @field_validator("openai_base_url")
    @classmethod
    def _http(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            raise ValueError("write it as https://HOST/v1")
        return value.rstrip("/")

    @field_validator("token_secret")
    @classmethod
    def _token_secrets(cls, value: SecretStr | None) -> SecretStr | None:
        for secret in _split(value):
            check_token_secret(secret)
        return value

    @field_validator("token_jwks_url")
    @classmethod
    def _one_way_to_check_tokens(cls, value: str | None, info: ValidationInfo) -> str | None:
        shared = info.data.get("token_secret") or info.data.get("token_secret_file")
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("write it as https://HOST/PATH")
        if value and shared:
            raise ValueError("TOKEN_SECRET is set too, and only one of them can be")
        if not value and not shared and info.data.get("sessions_file"):
            raise ValueError("neither it nor TOKEN_SECRET is set")
        return value.rstrip("/") if value else value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in value.split():
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or origin != f"{parts.scheme}://{parts.netloc}" or "*" in origin:
                raise ValueError("write origins as https://HOST, without a path and without *")
        return value

    @property
    def topic_path(self) -> str:
        """The topic's full name."""
        if "/" in self.calls_topic:
            return self.calls_topic
        return f"projects/{self.google_cloud_project}/topics/{self.calls_topic}"


def check_webhook_secret(secret: str) -> None:
    """Check a webhook's signing secret.

    Raises:
        ValueError: it is none; the message does not show it.
    """
    if not re.fullmatch(r"whsec_[A-Za-z0-9+/]+={0,2}", secret):
        raise ValueError("not whsec_ and base64")
    try:
        Webhook(secret)
    except binascii.Error:
        raise ValueError("cut short: what follows whsec_ is not whole base64") from None


def check_token_secret(secret: str) -> None:
    """Check a secret that tokens are signed with.

    Raises:
        ValueError: it is too short; the message does not show it.
    """
    if len(secret.encode()) < MIN_TOKEN_SECRET_BYTES:
        raise ValueError(f"shorter than {MIN_TOKEN_SECRET_BYTES} bytes")


def _split(secrets: SecretStr | None) -> list[str]:
    """Split secrets at whitespace; from blanks alone, make an empty one to refuse."""
    return [] if secrets is None else secrets.get_secret_value().split() or [""]


_Settings = TypeVar("_Settings", bound=BaseSettings)


def load(settings: type[_Settings]) -> _Settings:
    """Read settings from the environment.

    Raises:
        SettingsError: some are missing or wrong; the message names each and says what it is, without showing values.
    """
    try:
        return settings()
    except ValidationError as error:
        problems = " ".join(_problem(settings, found) for found in error.errors())
        raise SettingsError(f"set these environment variables: {problems}") from None


def _problem(settings: type[BaseSettings], error: ErrorDetails) -> str:
    name = str(error["loc"][0])
    description = " ".join((settings.model_fields[name].description or "").split())
    return f"{name.upper()}: {error['msg'].removeprefix('Value error, ')}. {description}"
