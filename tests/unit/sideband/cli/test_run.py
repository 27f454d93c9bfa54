"""`sideband run`: a supervisor, with the agent from the command line and all else from the environment."""

from __future__ import annotations

import subprocess
import sys

from tests.support.repository import ROOT


def test_settings_that_are_missing() -> None:
    """Missing settings are named in one line, and the agent, which the command line has, is not among them."""
    done = subprocess.run(
        [sys.executable, "-m", "sideband", "run", "examples.bikes:agent"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "CALLS_SUBSCRIPTION" in done.stderr
    assert "SIDEBAND_AGENT" not in done.stderr
