"""The supervisor's settings: read from the environment, and checked at start."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from supervisor.errors import StartupError
from supervisor.transfer_targets import PATTERN

LAST_PORT = 65535
_SUBSCRIPTION = re.compile(r"(projects/[^/\s]+/subscriptions/)?[^/\s]+")
_STORE = re.compile(r"sqlite:.+|firestore:[^/\s]*")

Name = Annotated[str, Field(min_length=1)]


class Settings(BaseSettings):
    """Hold all settings of one supervisor process; names carry their unit."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        str_strip_whitespace=True,
        use_attribute_docstrings=True,
    )

    openai_api_key: SecretStr = Field(min_length=1)
    """The key of the OpenAI project that owns the calls."""
    openai_base_url: str = "https://api.openai.com/v1"
    """The base URL of OpenAI's REST API; for European residency https://eu.api.openai.com/v1."""
    openai_websocket_base_url: str = ""
    """The base URL of sidebands, such as wss://api.openai.com/v1; made from OPENAI_BASE_URL unless set."""
    google_cloud_project: Name
    """The id of the Google Cloud project."""
    calls_subscription: Name
    """The Pub/Sub subscription that calls are claimed from: its id, or projects/PROJECT/subscriptions/ID."""
    pubsub_emulator_host: str = ""
    """HOST:PORT of a Pub/Sub emulator, instead of Google's service."""
    pubsub_endpoint: str = ""
    """Pub/Sub's endpoint in the subscription's region, such as europe-west4-pubsub.googleapis.com: exactly-once
    delivery holds for subscribers of one region."""
    sideband_agent: Name
    """The agent that answers, as module:attribute, such as examples.bikes:agent."""
    max_calls: int = Field(default=200, ge=1, le=10_000)
    """The most calls that this process holds at once."""
    lease_seconds: int = Field(default=15, ge=10, le=600)
    """How long a claim lives without renewal, and so how long a crash leaves a call without an owner."""
    records: str = "sqlite:sideband.sqlite"
    """Where call records are kept: `sqlite:PATH`, for the processes of one machine, or `firestore:` or
    `firestore:DATABASE`."""
    transfer_targets: str = ""
    """Where calls may be transferred to: patterns such as `tel:+3120*` or `sip:*@pbx.example.com`, separated by spaces;
    nowhere unless set."""
    handover_seconds: float = Field(default=8, gt=0, le=600)
    """The most time from SIGTERM to exit; Cloud Run kills after 10 s."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level that is logged: DEBUG, INFO, WARNING or ERROR."""
    log_personal_data: bool = False
    """Whether logs may hold what people say, their numbers and addresses, and the messages of exceptions."""
    health_address: str = ""
    """HOST:PORT where /livez, /readyz and /metrics are served, such as 0.0.0.0:8081."""
    otel_exporter_otlp_endpoint: str = ""
    """Where metrics and traces are sent, by OTLP over HTTP, such as https://telemetry.googleapis.com."""

    @field_validator("health_address", "pubsub_emulator_host")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and "/" not in host and port.isdecimal() and int(port) <= LAST_PORT):
            raise ValueError(f"write it as HOST:PORT, with a port of at most {LAST_PORT}")
        return value

    @field_validator("pubsub_endpoint")
    @classmethod
    def _host(cls, value: str) -> str:
        if "/" in value:
            raise ValueError("write the host alone, such as europe-west4-pubsub.googleapis.com")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_capitals(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("records")
    @classmethod
    def _known_store(cls, value: str) -> str:
        if not _STORE.fullmatch(value):
            raise ValueError("write it as sqlite:PATH, firestore: or firestore:DATABASE")
        return value

    @field_validator("calls_subscription")
    @classmethod
    def _subscription(cls, value: str) -> str:
        if not _SUBSCRIPTION.fullmatch(value):
            raise ValueError("write the subscription's id, or projects/PROJECT/subscriptions/ID")
        return value

    @field_validator("transfer_targets")
    @classmethod
    def _uris(cls, value: str) -> str:
        for pattern in value.split():
            if not PATTERN.fullmatch(pattern):
                raise ValueError(
                    f"{pattern} matches nothing: write patterns such as tel:+3120* or sip:*@pbx.example.com"
                )
        return value

    @field_validator("otel_exporter_otlp_endpoint")
    @classmethod
    def _http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("write it as https://HOST")
        return value.rstrip("/")

    @field_validator("openai_base_url", "openai_websocket_base_url")
    @classmethod
    def _with_host_and_path(cls, value: str) -> str:
        url = urlsplit(value)
        if value and not (url.scheme in ("http", "https", "ws", "wss") and url.netloc and url.path.strip("/")):
            raise ValueError("write it as https://HOST/v1")
        return value.rstrip("/")

    @property
    def websocket_base_url(self) -> str:
        """Return the base URL of sidebands, such as wss://api.openai.com/v1."""
        url = self.openai_websocket_base_url or self.openai_base_url
        return "ws" + url.removeprefix("http") if url.startswith("http") else url

    @property
    def subscription_path(self) -> str:
        """Return the subscription's full name, projects/PROJECT/subscriptions/ID."""
        if self.calls_subscription.startswith("projects/"):
            return self.calls_subscription
        return f"projects/{self.google_cloud_project}/subscriptions/{self.calls_subscription}"


def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        StartupError: some are missing or wrong; the message names each, and shows no value.
    """
    try:
        return Settings()
    except ValidationError as error:
        found = [(str(e["loc"][0]).upper(), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        problems = "; ".join(f"{name}: {message}" for name, message in found)
        raise StartupError(f"set these environment variables: {problems}") from None
