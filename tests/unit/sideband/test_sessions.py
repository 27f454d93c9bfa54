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


def test_the_function_reads_what_the_supervisor_writes(tmp_path: Path) -> None:
    file = tmp_path / "sessions.json"
    file.write_text(run("examples.bikes:agent").stdout)
    assert read_sessions(file) == {
        "agent": json.loads(json.dumps(accept_body(agent.session, agent.tools, transport="webrtc")))
    }


def test_an_agent_that_is_not_there_is_said_in_one_line() -> None:
    for paths in ([], ["examples.bikes:nobody"]):
        done = run(*paths)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
