"""Fixtures that every test may use."""

import os

import pytest

pytest_plugins = ["tests.support.made_supervisors", "tests.support.pubsub_servers", "tests.support.firestore_server"]

_OURS = (
    "OPENAI_", "GOOGLE_CLOUD_", "PUBSUB_", "FIRESTORE_", "CALLS_", "SIDEBAND_", "LEASE_", "MAX_CALLS", "RECORDS",
    "SESSIONS_", "TOKEN_", "ALLOWED_", "THREADS",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of the machine it runs on."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded by `record_property("figures", ...)`, also when they pass."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    figures = [value for report in reports for name, value in report.user_properties if name == "figures"]
    if figures:
        terminalreporter.section("figures")
        for line in sorted(set(figures)):
            terminalreporter.write_line(str(line))
