"""Terraform's own tests notice what must not change. `make infra-test` runs all of them; here one is seen to fail."""

from pathlib import Path

import pytest

from tests.infra import terraform


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        (
            "enable_exactly_once_delivery = true",
            "enable_exactly_once_delivery = false",
            "Without exactly-once delivery a lost lease goes unnoticed.",
        ),
        (
            "  # No retry_policy: its back-off would delay every hand-over.",
            '  retry_policy {\n    minimum_backoff = "10s"\n  }',
            "A retry policy delays hand-overs.",
        ),
    ],
    ids=["exactly-once turned off", "a retry policy"],
)
def test_a_broken_claim_is_seen(tmp_path: Path, before: str, after: str, complaint: str) -> None:
    """A subscription whose lease would not be the ownership of a call is found."""
    module = terraform.copy(tmp_path)
    terraform.change(module, "pubsub.tf", before, after)
    done = terraform.run_tests(module, "claims")
    assert done.returncode == 1, done.stdout
    assert complaint in " ".join(done.stderr.split())


def test_unbroken_it_passes(tmp_path: Path) -> None:
    """The module as it is passes the same test."""
    done = terraform.run_tests(terraform.copy(tmp_path), "claims")
    assert done.returncode == 0, done.stdout + done.stderr


BROWSERS = """
mock_provider "google" {}
mock_provider "archive" {}
override_data {
  target = data.google_project.this
  values = { number = "123456789012" }
}
variables {
  project_id            = "a-project"
  region                = "europe-west4"
  openai_api_key        = "sk-never-in-a-state"
  openai_webhook_secret = "whsec_bmV2ZXIgaW4gYSBzdGF0ZQ=="
  source_code           = { folder = "../../.." }
  supervisor_image      = "supervisor"
  browsers              = { allowed_origins = ["https://shop.example"], token_jwks_url = "https://shop.example/keys" }
}
run "browsers" {
  command = plan
  assert {
    condition = (
      length(google_secret_manager_secret_iam_member.function_reads_token_secret) == 0
      && length(google_secret_manager_secret_iam_member.function_makes_calls) == 1
    )
    error_message = "With keys that are published no secret is shared: the function reads what it needs and no more."
  }
}
"""


@pytest.mark.parametrize("made", [False, True], ids=["without sessions.json", "with it"])
def test_browsers_need_sessions(tmp_path: Path, *, made: bool) -> None:
    """Calls from browsers need the agent's sessions, and the error says how to write them."""
    module = terraform.copy(tmp_path)
    (module / "tests/browsers.tftest.hcl").write_text(BROWSERS)
    if made:
        (tmp_path / "sessions.json").write_text("{}")
    done = terraform.run_tests(module, "browsers")
    assert (done.returncode == 0) == made, done.stderr
    assert ("sideband sessions examples.bikes:agent > sessions.json" in " ".join(done.stderr.split())) != made


def test_project_and_labels_are_set(tmp_path: Path) -> None:
    """Whatever the caller's provider is set to; where a parent is named in full, the project is in its name."""
    schemas = terraform.schemas(terraform.copy(tmp_path))
    labelled = 0
    for module in (terraform.MODULE, terraform.MODULE / "../crema"):
        for address, resource in terraform.read(module).items():
            type_, _, _ = address.partition(".")
            takes = schemas.get(type_, set())
            of_parent = type_.endswith(("_iam_member", "_secret_version"))
            in_full = of_parent and any(terraform.references(value).endswith(".id") for value in resource.values())
            assert "project" not in takes or "project" in resource or in_full, address
            assert "labels" not in takes or "labels" in resource, address
            labelled += "labels" in takes
    assert labelled > 8
