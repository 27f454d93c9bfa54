"""The Terraform that `sideband new` writes, with this repository's module."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra import terraform

ROOT = terraform.ROOT
MODULE = "infra/modules/sideband"


@pytest.fixture
def root_module(tmp_path: Path) -> Path:
    """A new repository whose main.tf finds the module here instead of by git."""
    if not (ROOT / MODULE).exists():
        pytest.skip(f"there is no {MODULE} yet")
    if not shutil.which("terraform"):
        pytest.skip("Terraform is not installed")
    new = ("new", str(tmp_path / "shop"), "--module-source", f"{ROOT}//{MODULE}")
    subprocess.run([sys.executable, "-m", "sideband", *new], cwd=ROOT, check=True, timeout=60)
    return tmp_path / "shop"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["terraform", f"-chdir={folder}", *arguments],
        env={**os.environ, "TF_IN_AUTOMATION": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_written_root_is_valid(root_module: Path) -> None:
    """It is formatted, and gives the module what it needs and nothing that it does not know."""
    formatted = run(root_module, "fmt", "-check", "-diff", ".")
    assert formatted.returncode == 0, formatted.stdout
    made = run(root_module, "init", "-backend=false", "-input=false", "-no-color")
    if "Failed to query available provider packages" in made.stderr:
        pytest.skip(f"Terraform can't get its providers: {made.stderr[-300:]}")
    assert made.returncode == 0, made.stderr
    checked = run(root_module, "validate", "-no-color")
    assert checked.returncode == 0, checked.stderr
