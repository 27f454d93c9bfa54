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


def test_the_three_that_are_needed_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_with(monkeypatch)
    assert webhook_secrets(settings).current() == [SECRET]
    assert settings.sessions_file is None
    assert settings.topic_path == "projects/my-project/topics/calls"
    assert settings.publish_timeout_seconds == 5
    assert settings.max_event_age_seconds == 180
    assert settings.pubsub_emulator_host is None


def test_a_topic_may_be_in_another_project(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_with(monkeypatch, CALLS_TOPIC="projects/elsewhere/topics/calls")
    assert settings.topic_path == "projects/elsewhere/topics/calls"


def test_several_secrets_are_split_at_any_whitespace(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_with(monkeypatch, OPENAI_WEBHOOK_SECRET=f" {SECRET}\nwhsec_b3RoZXI=\t\n")
    assert webhook_secrets(settings).current() == [SECRET, "whsec_b3RoZXI="]


def test_the_secret_is_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_with(monkeypatch)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()}"


def test_all_that_is_missing_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_malformed_one_is_named_with_what_to_set_and_its_value_is_not_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(
        SettingsError, match=f"^set these environment variables: {name}: .+\\. [A-Z].+\\.$"
    ) as malformed:
        load_with(monkeypatch, **{name: value})
    assert "\n" not in str(malformed.value)
    assert "pattern" not in str(malformed.value), "a sentence, and no regular expression"
    assert SECRET not in str(malformed.value)
    assert "not-a-webhook-secret" not in str(malformed.value)


@pytest.mark.parametrize("name", GOOD)
def test_an_empty_one_counts_as_missing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: Field required"):
        load_with(monkeypatch, **{name: ""})


BROWSERS = {
    "SESSIONS_FILE": "sessions.json",
    "OPENAI_API_KEY": "sk-1",
    "TOKEN_SECRET": "a-secret-of-at-least-32-bytes-in-all",
}


def test_calls_from_browsers_need_four_settings(monkeypatch: pytest.MonkeyPatch) -> None:
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
)
def test_what_is_wrong_with_browsers_settings_is_said(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError) as wrong:
        load_with(monkeypatch, **BROWSERS | changed)
    assert says in str(wrong.value)
    assert "\n" not in str(wrong.value)
    assert BROWSERS["TOKEN_SECRET"] not in str(wrong.value)


def test_a_secret_file_takes_the_place_of_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    settings = load_with(monkeypatch, OPENAI_WEBHOOK_SECRET="", OPENAI_WEBHOOK_SECRET_FILE=str(file))
    assert webhook_secrets(settings).current() == [SECRET]
    for content, says in [("whsec_no*", "malformed"), ("", "holds no secret"), (None, "can't be read")]:
        file.unlink() if content is None else file.write_text(content)
        with pytest.raises(SettingsError, match=f"OPENAI_WEBHOOK_SECRET_FILE.*{says}"):
            webhook_secrets(settings)
