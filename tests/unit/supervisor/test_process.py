"""However a supervisor ends, its process ends with it, and says why: one that hangs is restarted by nobody."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys, time
from supervisor import process

async def supervise(*_):
    {hang}
    await asyncio.sleep(0.1)
    {end}

async def never_ends():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

process.supervise = supervise
sys.exit(process.main())
"""
THREAD = "asyncio.create_task(asyncio.to_thread(time.sleep, 120))"
TASK = "global task; task = asyncio.create_task(never_ends())"
ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-1",
    "GOOGLE_CLOUD_PROJECT": "shop",
    "CALLS_SUBSCRIPTION": "calls",
    "SIDEBAND_AGENT": "examples.bikes:agent",
}


@pytest.mark.parametrize("hang", [THREAD, TASK, "pass"], ids=["thread", "task", "nothing"])
@pytest.mark.parametrize(
    ("end", "status", "severity"),
    [("raise OverflowError('too large')", 1, "ERROR"), ("sys.exit(3)", 1, "ERROR"), ("return", 0, None)],
    ids=["error", "exit", "stop"],
)
def test_the_process_ends(hang: str, end: str, status: int, severity: str | None) -> None:
    """The process ends with its status, whatever thread or task still hangs, and logs why."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(hang=hang, end=end)],
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == status
    assert [(line["severity"], line["message"]) for line in lines] == (
        [(severity, "supervisor_failed")] if severity else []
    )
    assert "Traceback" not in done.stderr


def test_a_clean_exit_runs_hooks() -> None:
    """A process in which nothing hangs ends as Python does, so that `atexit` hooks run, also after a plain tool."""
    hook = "import atexit; atexit.register(print, '{}'); await asyncio.to_thread(int)"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(hang=hook, end="return")],
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (0, "{}\n")
