"""The module as a root in somebody's own repository calls it: the call in its README, outside of this repository."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import hcl2
import pytest

from tests.infra import terraform

README = terraform.MODULE / "README.md"
SOURCE = "git::https://git.example/sideband.git//infra/modules/sideband?ref=v0.2.0"

# Terraform's tests mock only the providers that a root names itself.
PROVIDERS = """
terraform {
  required_providers {
    archive = { source = "hashicorp/archive" }
    google  = { source = "hashicorp/google" }
  }
}
"""

APPLY = """
mock_provider "google" {}
mock_provider "archive" {}
override_data {
  target = module.sideband.data.google_project.this
  values = { number = "123456789012" }
}
variables {
  openai_api_key        = "sk-never-in-a-state"
  openai_webhook_secret = "whsec_bmV2ZXIgaW4gYSBzdGF0ZQ=="
}
run "applied" {
  command = apply
  assert {
    condition     = output.webhook_url == "https://sideband-function-123456789012.europe-west4.run.app/webhooks/openai"
    error_message = "The webhook's address comes out."
  }
}
"""


def own_root(folder: Path, source: str) -> Path:
    """Make a repository with an agent, and the README's call of the module."""
    (call,) = re.findall(r"```hcl\n(.*?)```", README.read_text(), re.DOTALL)
    assert call.count(SOURCE) == 1
    (folder / "tests").mkdir(parents=True)
    (folder / "shop").mkdir()
    (folder / "shop/__init__.py").touch()
    (folder / "Dockerfile").touch()
    (folder / "main.tf").write_text(call.replace(SOURCE, source))
    (folder / "tests/apply.tftest.hcl").write_text(APPLY)
    return folder


def by_path(folder: Path) -> str:
    """Copy the module to a folder beside the root's; returns its source."""
    return f"../{terraform.copy(folder).relative_to(folder.parent)}"


def by_absolute_path(folder: Path) -> str:
    """Copy the module; returns its source by an absolute path.

    It has a `//`, or Terraform would take the module's folder alone.
    """
    terraform.copy(folder)
    return f"{folder}//{terraform.MODULE.relative_to(terraform.ROOT)}"


def by_git(folder: Path) -> str:
    """Commit what Terraform reads, as a version of its own; returns its source."""
    terraform.copy(folder)
    for installed in list(folder.rglob(".terraform*")):
        shutil.rmtree(installed) if installed.is_dir() else installed.unlink()
    name = ["-c", "user.name=Somebody", "-c", "user.email=somebody@shop.example"]
    for command in (["init"], ["add", "."], [*name, "commit", "--message=0.2.0"], ["tag", "v0.2.0"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, timeout=60)
    return f"git::{folder.as_uri()}//{terraform.MODULE.relative_to(terraform.ROOT)}?ref=v0.2.0"


@pytest.mark.parametrize("publish", [by_path, by_absolute_path, by_git])
def test_a_root_of_ones_own(tmp_path: Path, publish: Callable[[Path], str]) -> None:
    """It needs no clone: what the module reads beside itself comes with it."""
    root = own_root(tmp_path / "shop", source=publish(tmp_path / "sideband"))
    terraform.init(root)
    done = terraform.run(root, "validate", "-no-color")
    assert done.returncode == 0, done.stderr
    (root / "versions.tf").write_text(PROVIDERS)
    done = terraform.run_tests(root, "apply", PATH=terraform.path_with_gcloud(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    built_in, *arguments = (tmp_path / "gcloud.log").read_text().splitlines()
    (config,) = [argument.removeprefix("--config=") for argument in arguments if argument.startswith("--config=")]
    assert Path(built_in) == root
    assert Path(config).is_file()
    assert "_AGENT=shop:agent,_DOCKERFILE=Dockerfile" in arguments[-1]


@pytest.mark.parametrize("missing", ["Dockerfile", "shop/__init__.py"])
def test_code_that_is_not_there(tmp_path: Path, missing: str) -> None:
    """The plan says so, and not a build some minutes later."""
    root = own_root(tmp_path / "shop", source=by_path(tmp_path / "sideband"))
    (root / "versions.tf").write_text(PROVIDERS)
    (root / missing).unlink()
    done = terraform.run_tests(root, "apply", PATH=terraform.path_with_gcloud(tmp_path))
    assert done.returncode == 1
    assert not (tmp_path / "gcloud.log").exists()
    assert ("source_code" in done.stderr, missing in done.stderr) == (True, True)


def test_no_provider_and_no_backend() -> None:
    """These are the caller's: a module that has a provider can't be called twice, nor removed."""
    for path in terraform.INFRA.glob("modules/*/*.tf"):
        document = hcl2.loads(path.read_text())
        assert "provider" not in document, path
        assert not [block for block in document.get("terraform", []) if {"backend", "cloud"} & set(block)], path
