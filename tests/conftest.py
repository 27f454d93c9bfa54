"""Fixtures that every test may use."""

import os

import pytest

pytest_plugins = ["tests.pubsub_servers", "tests.firestore_server"]

_OURS = ("OPENAI_", "GOOGLE_CLOUD_", "PUBSUB_", "FIRESTORE_", "CALLS_", "SIDEBAND_", "LEASE_", "MAX_CALLS", "RECORDS")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of the machine it runs on."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
