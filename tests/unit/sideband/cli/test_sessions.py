"""The sessions that are written for the function."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from examples.bikes import agent
from function.webrtc import read_sessions
from sideband.cli import app
from supervisor.agents.session import accept_body


def test_function_reads_sessions(tmp_path: Path) -> None:
    """What `sideband sessions` prints is what the function reads."""
    file = tmp_path / "sessions.json"
    file.write_text(CliRunner().invoke(app, ["sessions", "examples.bikes:agent"]).stdout)
    body = accept_body(agent.session, agent.tools, transport="webrtc")
    assert read_sessions(file) == {"agent": json.loads(json.dumps(body))}


@pytest.mark.parametrize("path", ["examples.bikes:nobody", "examples.nowhere:agent", "bikes"])
def test_wrong_agent_gets_one_line(path: str) -> None:
    """Nothing on stdout, so that no file is made of it."""
    done = CliRunner().invoke(app, ["sessions", path])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
