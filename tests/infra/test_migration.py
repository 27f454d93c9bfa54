"""A state of version 0.1, whose resources were in the root, goes on in the module: all are moved, none is made anew."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from tests.infra import terraform

MOVED_ADDRESSES = 42  # as many as the root of version 0.1 had

# The module, applied as a root, has every address that the flat root had; then the root plans on that state.
MIGRATION = """
mock_provider "google" {}
mock_provider "archive" {}
variables {
  agent                 = "shop:agent"
  autoscaling           = {}
  browsers              = { allowed_origins = ["https://shop.example"] }
  build_trigger         = { repository = "projects/a-project/locations/europe-west4/connections/a/repositories/shop" }
  openai_api_key        = "sk-never-in-a-state"
  openai_webhook_secret = "whsec_bmV2ZXIgaW4gYSBzdGF0ZQ=="
  project_id            = "a-project"
  region                = "europe-west4"
  token_secret          = "never-in-a-state-never-in-a-state"
}
run "flat" {
  command   = apply
  state_key = "of the root"
  module {
    source = "./modules/sideband"
  }
  variables {
    source_code = { folder = "./..", dockerfile = "supervisor/Dockerfile" }
  }
  override_data {
    target = data.google_project.this
    values = { number = "123456789012" }
  }
  override_data {
    target = data.archive_file.function
    values = { output_md5 = "0123" }
  }
}
run "moved" {
  command   = plan
  state_key = "of the root"
  override_data {
    target = module.sideband.data.google_project.this
    values = { number = "123456789012" }
  }
  override_data {
    target = module.sideband.data.archive_file.function
    values = { output_md5 = "0123" }
  }
}
"""


def plan(folder: Path) -> list[dict[str, Any]]:
    """Plan the root on a state of the flat root; returns what becomes of each resource."""
    root = terraform.copy(folder) / "../.."
    for name in ("shop/__init__.py", "supervisor/Dockerfile", "sessions.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (root / "tests").mkdir(exist_ok=True)
    (root / "tests/migration.tftest.hcl").write_text(MIGRATION)
    shutil.rmtree(root / ".terraform", ignore_errors=True)  # where the module that a test names is not installed
    done = terraform.run_tests(root, "migration", "-json", "-verbose", PATH=terraform.path_with_gcloud(folder))
    assert done.returncode == 0, done.stdout
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    (planned,) = [message["test_plan"] for message in messages if message["type"] == "test_plan"]
    return [change for change in planned["resource_changes"] if change["mode"] == "managed"]


def test_nothing_is_made_anew(tmp_path: Path) -> None:
    """Each resource that the flat root had is in the module, as it was; what the module gained since is none of it."""
    blocks = re.findall(r"from = (\S+)\n  to   = module\.sideband\.(\S+)\n", (terraform.INFRA / "moved.tf").read_text())
    moved = {before for before, after in blocks if before == after}
    assert len(moved) == len(blocks) == MOVED_ADDRESSES
    found = set()
    for change in plan(tmp_path):
        before = change["address"].removeprefix("module.sideband.")
        address = before.partition("[")[0]  # without the key of one of many
        if address in moved:
            assert change["change"]["actions"] == ["no-op"], change
            assert change["previous_address"] == before
            found.add(address)
    assert found == moved
