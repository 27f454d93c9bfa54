"""What the function is told by its environment, checked before it serves."""

from __future__ import annotations

import binascii
import re

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from standardwebhooks import Webhook

from function.errors import SettingsError


class Settings(BaseSettings):
    """One environment variable for each field, its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, str_strip_whitespace=True)

    openai_webhook_secret: SecretStr = Field(
        description="the signing secret of OpenAI's webhook endpoint (whsec_...), or several separated by spaces "
        "during a rotation",
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

    pubsub_emulator_host: str | None = Field(
        default=None, description="the host:port of a Pub/Sub emulator; unset means Google's service"
    )

    @field_validator("openai_webhook_secret")
    @classmethod
    def _well_formed(cls, value: SecretStr) -> SecretStr:
        for secret in value.get_secret_value().split() or [""]:
            if not re.fullmatch(r"whsec_[A-Za-z0-9+/]+={0,2}", secret):
                raise ValueError("not whsec_ and base64")
            try:
                Webhook(secret)
            except binascii.Error:
                raise ValueError("cut short: what follows whsec_ is not whole base64") from None
        return value

    @property
    def webhook_secrets(self) -> list[str]:
        """The secrets that a webhook may be signed with; any of them may match."""
        return self.openai_webhook_secret.get_secret_value().split()

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
