"""The command line as a whole: its help, what it loads, and what it says when something is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sideband.cli import app

ROOT = Path(__file__).resolve().parents[4]
COMMANDS = ["new", "dev", "call", "rehearse", "demo", "run", "sessions"]
WEBHOOK = ["create", "list", "rotate", "delete", "test"]
HEAVY = {"aiohttp", "emulator", "function", "grpc", "openai", "pydantic", "supervisor", "yaml"}


PROGRAM = """
import sys
sys.modules.update(dict.fromkeys({missing!r}))
from sideband.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def sideband(*arguments: str, missing: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, on a terminal of 80 columns; last on stderr is what it loaded."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(missing=missing), *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_fits_on_a_screen() -> None:
    """All commands on 80 by 24, and nothing of what they run is loaded for it."""
    shown = sideband("--help")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) <= 24
    assert all(f" {command} " in shown.stdout for command in [*COMMANDS, "webhook"])
    assert not HEAVY & set(shown.stderr.split())


@pytest.mark.parametrize(
    "command", [*([name] for name in COMMANDS), *(["webhook", name] for name in WEBHOOK)], ids=" ".join
)
def test_help_has_an_example(command: list[str]) -> None:
    """Each command's help ends its text with a line that can be copied."""
    shown = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, [*command, "--help"])
    assert f"Example: sideband {' '.join(command)}" in shown.output


def test_missing_extra_is_named() -> None:
    """A package that is not installed gets one line that says what to install."""
    done = sideband("sessions", "shop:agent", missing=("docstring_parser",))
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "This command needs docstring_parser: pip install 'sideband[supervisor]'"


def test_module_is_the_command() -> None:
    """`python -m sideband` is the same as `sideband`."""
    done = subprocess.run([sys.executable, "-m", "sideband"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Usage: sideband" in done.stdout + done.stderr
