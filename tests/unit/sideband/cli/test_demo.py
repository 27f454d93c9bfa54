"""`sideband demo`: what it says where it can't start. The demo itself is run by hand, and by the main job's tests."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from sideband.cli import app


def test_an_emulator_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Google's emulator the command ends with one line that says what is missing."""
    monkeypatch.setattr("emulator.pubsub.google._SDK_HOMES", ())
    monkeypatch.setenv("PATH", "/nowhere")
    done = CliRunner().invoke(app, ["demo", "--pubsub", "google"])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "needs the Google Cloud CLI" in done.stderr
