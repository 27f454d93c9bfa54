"""Terraform for tests: what the module's files say, and a copy of the repository's infrastructure to break."""

from __future__ import annotations

import json
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
MODULE = INFRA / "modules/sideband"
_READ_BY_TERRAFORM = ("infra", "function", "docs/runbook.md")


def read(module: Path = MODULE) -> dict[str, dict[str, Any]]:
    """Return a module's resources, type.name -> arguments, and its `locals`."""
    found: dict[str, dict[str, Any]] = {"locals": {}}
    for path in sorted(module.glob("*.tf")):
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


def environment(name: str, module: Path = MODULE) -> set[str]:
    """Return the names in a local that maps environment variables."""
    return {_bare(key) for key in read(module)["locals"][name] if not key.startswith("__")}


def copy(folder: Path) -> Path:
    """Copy all that Terraform reads, also installed providers; returns the copy's module."""
    for name in _READ_BY_TERRAFORM:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    return folder / MODULE.relative_to(ROOT)


def change(module: Path, file: str, before: str, after: str) -> None:
    """Change one place in a copy."""
    path = module / file
    text = path.read_text()
    assert text.count(before) == 1, f"{before!r} is {text.count(before)} times in {file}"
    path.write_text(text.replace(before, after))


def run_tests(module: Path, file: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of Terraform's own test files."""
    init(module)
    return run(module, "test", "-no-color", f"-filter=tests/{file}.tftest.hcl", *options, **environment)


def init(module: Path) -> None:
    """Install a module's providers and modules; skip the test where they can't be had."""
    if not shutil.which("terraform"):
        pytest.skip("Terraform is not installed")
    if not (module / ".terraform").exists():
        made = run(module, "init", "-backend=false", "-input=false", "-no-color")
        if "Failed to query available provider packages" in made.stderr:
            pytest.skip(f"Terraform can't get its providers: {made.stderr[-300:]}")
        assert made.returncode == 0, made.stderr


def run(module: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Terraform in a folder."""
    command = ["terraform", f"-chdir={module}", *arguments]
    environ = {**os.environ, "TF_IN_AUTOMATION": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environ)


def path_with_gcloud(folder: Path) -> str:
    """Return a PATH with a gcloud that writes its folder and arguments to `gcloud.log`."""
    gcloud = folder / "bin/gcloud"
    gcloud.parent.mkdir()
    gcloud.write_text(f'#!/bin/sh\nprintf "%s\\n" "$PWD" "$@" > "{folder}/gcloud.log"\n')
    gcloud.chmod(0o755)
    return f"{gcloud.parent}{os.pathsep}{os.environ['PATH']}"


def schemas(module: Path) -> dict[str, set[str]]:
    """Return what resources take, by the providers' schemas: type -> names of arguments."""
    init(module)
    shown = json.loads(run(module, "providers", "schema", "-json").stdout)
    return {
        type_: {name for name, attribute in schema["block"]["attributes"].items() if attribute.get("optional")}
        for provider in shown["provider_schemas"].values()
        for type_, schema in provider.get("resource_schemas", {}).items()
    }


def references(value: Any) -> str:
    """Return an expression as it is written, without its quotes and `${}`."""
    return re.sub(r"^\$\{(.*)\}$", r"\1", str(value).strip('"'))
