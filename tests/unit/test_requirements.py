"""The locked requirements: hashed, from wherever the reader gets packages, and no more than each part needs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("function/requirements.txt", "supervisor/requirements.txt", "tests/requirements.txt")


def versions(file: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / file).read_text(), re.MULTILINE))


@pytest.mark.parametrize("file", FILES)
def test_lock_names_no_place(file: str) -> None:
    """No address of a package index is in it, and every package has a hash."""
    text = (ROOT / file).read_text()
    assert "://" not in text
    packages = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert packages
    assert all("--hash=sha256:" in package for package in packages)


@pytest.mark.parametrize("file", FILES[:2])
def test_deployed_is_a_part(file: str) -> None:
    """What is deployed has the versions that are tested, without the command line's and the stand-ins' packages."""
    deployed, tested = versions(file), versions("tests/requirements.txt")
    assert deployed.items() <= tested.items()
    assert not {"typer", "rich", "aiohttp", "aiortc", "pytest", "hatchling"} & deployed.keys()
