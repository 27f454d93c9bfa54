"""The function's settings: what is accepted, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from function.errors import SettingsError
from function.rotating_secrets import webhook_secrets
from function.settings import Settings, load

SECRET = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
GOOD = {"OPENAI_WEBHOOK_SECRET": SECRET, "GOOGLE_CLOUD_PROJECT": "my-project", "CALLS_TOPIC": "calls"}


def load_with(monkeypatch: pytest.MonkeyPatch, **changed: str) -> Settings:
    for name, value in (GOOD | changed).items():
        monkeypatch.setenv(name, value)
    return load(Settings)


def test_three_settings_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three settings are enough; all others have defaults."""
    settings = load_with(monkeypatch)
    assert webhook_secrets(settings).current() == [SECRET]
    assert settings.sessions_file is None
    assert settings.topic_path == "projects/my-project/topics/calls"
    assert settings.publish_timeout_seconds == 5
    assert settings.max_event_age_seconds == 180
    assert settings.pubsub_emulator_host is None


def test_a_topic_of_another_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """The topic may be in another project."""
    settings = load_with(monkeypatch, CALLS_TOPIC="projects/elsewhere/topics/calls")
    assert settings.topic_path == "projects/elsewhere/topics/calls"


def test_several_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several secrets are split at any white space."""
    settings = load_with(monkeypatch, OPENAI_WEBHOOK_SECRET=f" {SECRET}\nwhsec_b3RoZXI=\t\n")
    assert webhook_secrets(settings).current() == [SECRET, "whsec_b3RoZXI="]


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret is in what is printed of the settings."""
    settings = load_with(monkeypatch)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()}"


def test_missing_settings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """All settings that are missing are named, in one line."""
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError) as missing:
        load(Settings)
    assert "\n" not in str(missing.value)
    for name in GOOD:
        assert f"{name}: Field required. The " in str(missing.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_WEBHOOK_SECRET", "sk-not-a-webhook-secret"),
        ("OPENAI_WEBHOOK_SECRET", "whsec_"),
        ("OPENAI_WEBHOOK_SECRET", "whsec_not*base64"),
        ("OPENAI_WEBHOOK_SECRET", "whsec_c2Vjc"),
        ("OPENAI_WEBHOOK_SECRET", "   "),
        ("OPENAI_WEBHOOK_SECRET", f"{SECRET} and-another"),
        ("OPENAI_WEBHOOK_SECRET", f"{SECRET},{SECRET}"),
        ("GOOGLE_CLOUD_PROJECT", "my project"),
        ("CALLS_TOPIC", "projects/my-project/calls"),
        ("CALLS_TOPIC", "c"),
        ("PUBLISH_TIMEOUT_SECONDS", "soon"),
        ("PUBLISH_TIMEOUT_SECONDS", "0"),
        ("PUBLISH_TIMEOUT_SECONDS", "nan"),
        ("PUBLISH_TIMEOUT_SECONDS", "31"),
        ("MAX_EVENT_AGE_SECONDS", "-1"),
    ],
)
def test_a_malformed_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A malformed setting is named, with what to set; its value is not repeated."""
    with pytest.raises(
        SettingsError, match=f"^set these environment variables: {name}: .+\\. [A-Z].+\\.$"
    ) as malformed:
        load_with(monkeypatch, **{name: value})
    assert "\n" not in str(malformed.value)
    assert "pattern" not in str(malformed.value), "a sentence, and no regular expression"
    assert SECRET not in str(malformed.value)
    assert "not-a-webhook-secret" not in str(malformed.value)


@pytest.mark.parametrize("name", GOOD)
def test_an_empty_setting_is_missing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An empty setting counts as missing."""
    with pytest.raises(SettingsError, match=f"{name}: Field required"):
        load_with(monkeypatch, **{name: ""})


BROWSERS = {
    "SESSIONS_FILE": "sessions.json",
    "OPENAI_API_KEY": "sk-1",
    "TOKEN_SECRET": "a-secret-of-at-least-32-bytes-in-all",
}


def test_settings_of_browsers_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """With three settings more, browsers may call; none of their secrets is printed."""
    settings = load_with(monkeypatch, **BROWSERS)
    assert settings.token_audience == "sideband"
    assert "sk-1" not in f"{settings!r} {settings.model_dump()}"
    assert BROWSERS["TOKEN_SECRET"] not in f"{settings!r} {settings.model_dump()}"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"OPENAI_API_KEY": ""}, "OPENAI_API_KEY: Field required"),
        ({"TOKEN_SECRET": ""}, "neither it nor TOKEN_SECRET is set"),
        ({"TOKEN_JWKS_URL": "https://keys.example"}, "only one of them can be"),
        ({"TOKEN_SECRET": "short"}, "TOKEN_SECRET: shorter than 32 bytes"),
        ({"TOKEN_SECRET": "", "TOKEN_JWKS_URL": "keys.example"}, "TOKEN_JWKS_URL: write it as https://HOST/PATH"),
        ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS: write origins as https://HOST"),
        ({"ALLOWED_ORIGINS": "https://*.shop.example"}, "ALLOWED_ORIGINS: write origins as https://HOST"),
        ({"ALLOWED_ORIGINS": "https://shop.example/"}, "ALLOWED_ORIGINS: write origins as https://HOST"),
        ({"OPENAI_BASE_URL": "api.openai.com"}, "OPENAI_BASE_URL: write it as https://HOST/v1"),
        ({"THREADS": "1"}, "THREADS: Input should be"),
    ],
    ids=[
        *("no key", "no token keys", "two kinds of token keys", "short secret", "odd URL of keys", "any origin"),
        *("pattern of origins", "origin with a path", "odd base URL", "one thread"),
    ],
)
def test_wrong_settings_of_browsers(monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], says: str) -> None:
    """What is wrong with the settings of browsers' calls is refused in one line, without a secret."""
    with pytest.raises(SettingsError) as wrong:
        load_with(monkeypatch, **BROWSERS | changed)
    assert says in str(wrong.value)
    assert "\n" not in str(wrong.value)
    assert BROWSERS["TOKEN_SECRET"] not in str(wrong.value)


def test_a_secret_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file with the secret takes the place of the setting; one of no use is refused with the reason."""
    file = tmp_path / "secret"
    file.write_text(SECRET)
    settings = load_with(monkeypatch, OPENAI_WEBHOOK_SECRET="", OPENAI_WEBHOOK_SECRET_FILE=str(file))
    assert webhook_secrets(settings).current() == [SECRET]
    for content, says in [("whsec_no*", "malformed"), ("", "holds no secret"), (None, "can't be read")]:
        file.unlink() if content is None else file.write_text(content)
        with pytest.raises(SettingsError, match=f"OPENAI_WEBHOOK_SECRET_FILE.*{says}"):
            webhook_secrets(settings)
