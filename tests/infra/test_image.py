"""The supervisor's image, without Docker: its Dockerfile is read, and what it does is done in a folder."""

import asyncio
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.system import local_system
from tests.infra import terraform

ROOT = terraform.ROOT
DOCKERFILE = ROOT / "supervisor/Dockerfile"


def instructions() -> Iterator[tuple[str, str]]:
    """Read the Dockerfile's instructions and arguments, with the defaults of ARGs filled in."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    defaults: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(" ")
        for arg, value in defaults.items():
            rest = rest.replace(f"${{{arg}}}", value)
        if name == "ARG":
            arg, _, value = rest.partition("=")
            defaults[arg] = value
        yield name, rest.strip()


def all_of(name: str) -> list[str]:
    """Return the arguments of each instruction of this name."""
    return [rest for found, rest in instructions() if found == name]


def stage(name: str) -> list[tuple[str, str]]:
    """Return the instructions of a stage; the last one, the image, has no name."""
    stages: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for instruction, rest in instructions():
        if instruction == "FROM":
            current = stages.setdefault(rest.partition(" AS ")[2], [])
        current.append((instruction, rest))
    return stages[name]


def image() -> list[tuple[str, str]]:
    """Return the instructions that make the image: the base, and the agent on top."""
    return [*stage("base"), *stage("")]


def copied() -> list[tuple[list[str], str]]:
    """Return what is copied from the repository: from where, to where under /app."""
    copies = [rest.split() for name, rest in image() if name == "COPY" and not rest.startswith("--from")]
    return [(words[:-1], words[-1]) for words in copies]


def test_what_is_copied_is_there() -> None:
    """What the image copies is in the repository, and not ignored by Docker."""
    sources = [name for words in all_of("COPY") if not words.startswith("--from") for name in words.split()[:-1]]
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name in sources:
        assert (ROOT / name).exists(), name
        assert name.split("/")[0] not in ignored, name


def test_it_names_its_agent() -> None:
    """The image names its agent, so that what runs and what was asked for can't differ."""
    assert "SIDEBAND_AGENT=${AGENT}" in DOCKERFILE.read_text()


def test_base_has_no_agent() -> None:
    """An image on top that forgets to name its agent does not start, instead of answering with an example."""
    assert all("AGENT" not in rest for _, rest in stage("base"))
    assert next(rest for name, rest in stage("") if name == "FROM") == "base"


def test_it_is_small_and_unprivileged() -> None:
    """The image is slim, has a user of its own, hears SIGTERM, and holds no secret."""
    origins, base = all_of("FROM"), dict(stage("base"))
    assert [origin.split(":")[-1] for origin in origins if "slim" not in origin] == ["base"]
    assert base["USER"].split(":")[0].isdigit()
    assert base["USER"] != "0"
    assert json.loads(base["ENTRYPOINT"]) == ["python", "-m", "supervisor"]  # the exec form: no shell in between
    assert "--require-hashes" in all_of("RUN")[0]
    assert not any("secret" in rest.lower() or "key" in rest.lower() for _, rest in instructions())


async def test_what_is_copied_runs(tmp_path: Path) -> None:
    """The same steps in a folder: a venv from the hashed requirements alone, the copied files, the entry command."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("uv is not installed")
    venv, app = tmp_path / "venv", tmp_path / "app"
    python = venv / "bin/python"
    install = ["pip", "install", "--quiet", "--python", str(python), "--no-deps", "--require-hashes"]
    for command in (["venv", "--quiet", str(venv)], [*install, "-r", str(ROOT / "supervisor/requirements.txt")]):
        await (installing := await asyncio.create_subprocess_exec(uv, *command)).wait()
        assert installing.returncode == 0
    for sources, target in copied():
        for source in sources:
            _copy(ROOT / source, app / target, into_folder=target.endswith("/"))
    entry = [str(python), *json.loads(dict(image())["ENTRYPOINT"])[1:]]

    async with local_system(agent="examples.bikes:agent") as system:
        environment = {**system.environment, "PATH": "/usr/bin:/bin", "HEALTH_ADDRESS": "127.0.0.1:0"}
        environment["SIDEBAND_AGENT"] = dict(stage(""))["ENV"].partition("=")[2]
        del environment["PYTHONPATH"]
        child = await asyncio.create_subprocess_exec(*entry, cwd=app, env=environment, stdout=asyncio.subprocess.PIPE)
        assert child.stdout
        messages = []
        async for line in child.stdout:
            messages.append(json.loads(line)["message"])
            if messages[-1] == "started":
                child.send_signal(signal.SIGTERM)
        assert await child.wait() == 0
    assert messages[-1] == "stopped", shlex.join(entry)


def _copy(source: Path, target: Path, *, into_folder: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        return
    target = target / source.name if into_folder else target
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
