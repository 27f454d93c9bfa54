"""What a user does with Sideband, outside the checkout: install the wheel, write an agent, rehearse it, call it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sideband", "function", "supervisor", "emulator")
STEP_SECONDS = 150  # on a busy machine; about 40 in all on one that is not


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The wheel, built into a folder of its own by the locked build backend."""
    build = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path / "wheels")
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", *build, "."],
        cwd=ROOT,
        check=True,
        timeout=STEP_SECONDS,
    )
    (built,) = (tmp_path / "wheels").iterdir()
    return built


def test_wheel_has_what_git_has(wheel: Path) -> None:
    """Every file of the four packages and no other; what containers and locks are made of stays in the repository."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    left_out = ("Dockerfile", "Dockerfile.dockerignore", "compose.yaml", "requirements.txt")
    expected = {
        name for name in tracked.stdout.split() if name.startswith("sideband/template/") or not name.endswith(left_out)
    }
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


@dataclass
class User:
    """Somebody with a wheel, uv and an empty folder: what they run knows nothing of the checkout."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *command: str) -> str:
        """Run a command to its end; returns what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=STEP_SECONDS,
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}"
        return done.stdout

    @contextmanager
    def running(self, *command: str, until: str) -> Iterator[None]:
        """Run a command beside others, from when it has printed some words until Ctrl-C."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a group of its own, since a terminal sends Ctrl-C to a whole group
        )
        assert process.stdout
        printed = []
        try:
            for line in process.stdout:
                printed.append(line)
                if until in line:
                    break
            assert until in "".join(printed[-1:]), "".join(printed)
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=STEP_SECONDS)


@pytest.fixture
def user(tmp_path: Path, wheel: Path) -> User:
    """A user whose `uv` finds the wheel, and all else in the versions that are locked here."""
    tools = tmp_path / "tools"
    tools.mkdir()
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv, "uv is in the requirements of the tests"
    shutil.copy(uv, tools / "uv")
    (tools / "python3").symlink_to(Path(sys.base_prefix) / "bin/python3")
    constraints = tmp_path / "constraints.txt"
    shutil.copyfile(ROOT / "tests/requirements.txt", constraints)
    outside = {name: value for name, value in os.environ.items() if str(ROOT) not in value}
    return User(
        tmp_path,
        {
            **outside,
            "PATH": f"{tools}{os.pathsep}{os.path.defpath}",
            "PYTHONUNBUFFERED": "1",
            "UV_CONSTRAINT": str(constraints),
            "UV_FIND_LINKS": str(wheel.parent),
        },
    )


@pytest.mark.timeout(4 * STEP_SECONDS)
def test_agent_of_ones_own(user: User) -> None:
    """From the wheel to an answered call, as the written README says."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    user.run("uv", "tool", "run", "--from", f"sideband=={version}", "sideband", "new", "shop")
    user.folder /= "shop"
    user.run("make", "setup")
    installed = user.run(".venv/bin/python", "-c", "import sideband, sys; print(sideband.__file__, sys.path)")
    assert str(user.folder / ".venv") in installed
    assert str(ROOT) not in installed

    assert "1 passed" in user.run("make", "test")
    user.run("make", "check")
    with user.running("make", "dev", until="place a call"):
        said = "Is my bike ready?"
        placed = json.loads(user.run(".venv/bin/sideband", "call", "--say", said, "--json"))
    assert placed["answered"]
    assert placed["end_reason"] == "caller_hung_up"
    assert ["caller", said] in placed["transcript"]
    assert [who for who, _ in placed["transcript"]].count("agent") == 2  # the greeting and the answer
