"""The sessions that are written down for the function."""

import json
import subprocess
import sys
from pathlib import Path

from examples.bikes import agent
from function.webrtc import read_sessions
from supervisor.agents.session import accept_body

ROOT = Path(__file__).resolve().parents[3]


def run(*paths: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sideband.sessions", *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_function_reads_it(tmp_path: Path) -> None:
    """The function reads from the file the session that the supervisor would accept a browser's call with."""
    file = tmp_path / "sessions.json"
    file.write_text(run("examples.bikes:agent").stdout)
    assert read_sessions(file) == {
        "agent": json.loads(json.dumps(accept_body(agent.session, agent.tools, transport="webrtc")))
    }


def test_a_wrong_agent_is_one_line() -> None:
    """An agent that is missing or does not exist ends the command with one line on standard error."""
    for paths in ([], ["examples.bikes:nobody"]):
        done = run(*paths)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
