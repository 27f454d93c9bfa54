"""The command's settings, read from the environment."""

from __future__ import annotations

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from function.webhook_admin import secret_manager


class Settings(BaseSettings):
    """All settings of the command."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        str_strip_whitespace=True,
        use_attribute_docstrings=True,
    )

    openai_api_key: SecretStr
    """The key of the OpenAI project whose calls are served."""
    openai_base_url: str = "https://api.openai.com/v1"
    """OpenAI's REST API; for European residency https://eu.api.openai.com/v1."""
    secret_manager_url: str = secret_manager.GOOGLE
    """Secret Manager's API, or a stand-in for it."""
    pubsub_emulator_host: str | None = None
    """The host:port of a Pub/Sub emulator; unset means Google's service."""
