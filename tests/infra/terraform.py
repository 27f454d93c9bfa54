"""Terraform for tests: what its files say, and a copy of the repository's infrastructure to break."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
_READ_BY_TERRAFORM = ("infra", "function", "docs/runbook.md")


def read(infra: Path = INFRA) -> dict[str, dict[str, Any]]:
    """All resources of the root module: type.name -> arguments, and `locals`, as the files have them."""
    found: dict[str, dict[str, Any]] = {"locals": {}}
    for path in sorted(infra.glob("*.tf")):
        document = hcl2.loads(path.read_text())
        for block in document.get("resource", []):
            for type_, named in block.items():
                for name, arguments in named.items():
                    found[f"{_bare(type_)}.{_bare(name)}"] = arguments
        for block in document.get("locals", []):
            found["locals"] |= block
    return found


def _bare(text: str) -> str:
    return text.strip('"')


def environment(name: str, infra: Path = INFRA) -> set[str]:
    """The names in a local that maps environment variables."""
    return {_bare(key) for key in read(infra)["locals"][name] if not key.startswith("__")}


def copy(folder: Path) -> Path:
    """Copy all that Terraform reads, with its providers if they are installed; returns the copy's `infra`."""
    for name in _READ_BY_TERRAFORM:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    return folder / "infra"


def change(infra: Path, file: str, before: str, after: str) -> None:
    """Change one place in a copy."""
    path = infra / file
    text = path.read_text()
    assert text.count(before) == 1, f"{before!r} is {text.count(before)} times in {file}"
    path.write_text(text.replace(before, after))


def run_tests(infra: Path, file: str) -> subprocess.CompletedProcess[str]:
    """Run one of Terraform's own test files."""
    if not shutil.which("terraform"):
        pytest.skip("Terraform is not installed")
    environ = {**os.environ, "TF_IN_AUTOMATION": "1"}
    if not (infra / ".terraform").exists():
        made = _run(infra, environ, "init", "-backend=false", "-input=false")
        if made.returncode:
            pytest.skip(f"Terraform can't get its providers: {made.stderr[-300:]}")
    return _run(infra, environ, "test", "-no-color", f"-filter=tests/{file}.tftest.hcl")


def _run(infra: Path, environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["terraform", f"-chdir={infra}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environ)


def references(value: Any) -> str:
    """An expression as it is written, without its quotes and `${}`."""
    return re.sub(r"^\$\{(.*)\}$", r"\1", str(value).strip('"'))


def blocks(file: str, kind: str) -> dict[str, Any]:
    """The blocks of a kind in a file, by name, in their order."""
    document = hcl2.loads((INFRA / file).read_text())
    return {_bare(name): body for block in document[kind] for name, body in block.items()}
