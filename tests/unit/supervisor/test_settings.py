"""Settings are checked at start, and say what to do."""

import pytest

from supervisor.errors import StartupError
from supervisor.settings import load

ENOUGH = {
    "OPENAI_API_KEY": "sk-secret-of-this-test",
    "GOOGLE_CLOUD_PROJECT": "shop",
    "CALLS_SUBSCRIPTION": "calls-supervisor",
    "SIDEBAND_AGENT": "examples.bikes:agent",
}


def given(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings without a default that are missing are named, all in one line."""
    given(monkeypatch, OPENAI_API_KEY="sk-secret-of-this-test")
    with pytest.raises(StartupError) as raised:
        load()
    message = str(raised.value)
    assert all(name in message for name in ENOUGH if name != "OPENAI_API_KEY")
    assert "OPENAI_API_KEY" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_CALLS", "0"),
        ("LEASE_SECONDS", "9"),
        ("OPENAI_BASE_URL", "api.openai.com"),
        ("OPENAI_BASE_URL", "https://api.openai.com"),
        ("LOG_LEVEL", "LOUD"),
        ("CALLS_SUBSCRIPTION", "a/b"),
        ("PUBSUB_EMULATOR_HOST", "localhost"),
        ("RECORDS", "sqlite:"),
        ("RECORDS", "postgres://db"),
        ("TRANSFER_TARGETS", "tel:+3120* +31201234567"),
        ("TRANSFER_TARGETS", "tel:0201234567"),
        ("TRANSFER_TARGETS", "sip:pbx.example.com"),
        ("HEALTH_ADDRESS", "8081"),
        ("HEALTH_ADDRESS", "127.0.0.1:99999"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.googleapis.com"),
        ("OPENAI_API_KEY", " "),
        ("OPENAI_BASE_URL", "https:///v1"),
        ("PUBSUB_EMULATOR_HOST", "http://localhost:8085"),
        ("PUBSUB_ENDPOINT", "https://europe-west4-pubsub.googleapis.com"),
        ("RECORDS", "firestore:projects/shop/databases/calls"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A wrong value is refused by its setting's name, in a sentence, and shows no secret."""
    given(monkeypatch, **ENOUGH | {name: value})
    with pytest.raises(StartupError, match=name) as raised:
        load()
    assert "sk-secret" not in str(raised.value)
    assert "pattern '" not in str(raised.value)  # a sentence, and no regular expression
    assert "Value error" not in str(raised.value)


def test_a_secret_with_a_line_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line feed that a secret was stored with is no part of it.

    `echo KEY | gcloud secrets versions add` adds one, and no header can hold it.
    """
    given(monkeypatch, **ENOUGH | {"OPENAI_API_KEY": "sk-secret-of-this-test\n"})
    assert load().openai_api_key.get_secret_value() == "sk-secret-of-this-test"


def test_log_levels_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The level of logs may be written in small letters."""
    given(monkeypatch, **ENOUGH, LOG_LEVEL="debug")
    assert load().log_level == "DEBUG"


def test_the_key_is_not_shown_by_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings do not show the key when they are printed."""
    given(monkeypatch, **ENOUGH)
    assert "sk-secret" not in repr(load())


@pytest.mark.parametrize(
    ("base_url", "websocket_base_url", "expected"),
    [
        ("https://api.openai.com/v1", "", "wss://api.openai.com/v1"),
        ("https://eu.api.openai.com/v1/", "", "wss://eu.api.openai.com/v1"),
        ("http://127.0.0.1:9/v1", "", "ws://127.0.0.1:9/v1"),
        ("https://api.openai.com/v1", "wss://http-proxy.test/v1", "wss://http-proxy.test/v1"),
    ],
)
def test_websocket_base_url(
    monkeypatch: pytest.MonkeyPatch, base_url: str, websocket_base_url: str, expected: str
) -> None:
    """Where sidebands attach follows from the base URL, unless it is set apart."""
    given(monkeypatch, **ENOUGH, OPENAI_BASE_URL=base_url, OPENAI_WEBSOCKET_BASE_URL=websocket_base_url)
    assert load().websocket_base_url == expected


@pytest.mark.parametrize("name", ["calls-supervisor", "projects/shop/subscriptions/calls-supervisor"])
def test_subscription_path(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The subscription may be named by its id or by its full path."""
    given(monkeypatch, **ENOUGH | {"CALLS_SUBSCRIPTION": name})
    assert load().subscription_path == "projects/shop/subscriptions/calls-supervisor"
