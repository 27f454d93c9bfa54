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
def test_a_claim_that_is_no_ownership_is_seen(tmp_path: Path, before: str, after: str, complaint: str) -> None:
    infra = terraform.copy(tmp_path)
    terraform.change(infra, "pubsub.tf", before, after)
    done = terraform.run_tests(infra, "claims")
    assert done.returncode == 1, done.stdout
    assert complaint in " ".join(done.stderr.split())


def test_unbroken_it_passes(tmp_path: Path) -> None:
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
def test_calls_from_browsers_need_the_agents_sessions(tmp_path: Path, *, made: bool) -> None:
    infra = terraform.copy(tmp_path)
    (infra / "tests/browsers.tftest.hcl").write_text(BROWSERS)
    if made:
        (tmp_path / "sessions.json").write_text("{}")
    done = terraform.run_tests(infra, "browsers")
    assert (done.returncode == 0) == made, done.stderr
    assert ("sideband sessions examples.bikes:agent > sessions.json" in " ".join(done.stderr.split())) != made


def test_everything_that_takes_labels_gets_them() -> None:
    assert "default_labels = local.labels" in (terraform.INFRA / "versions.tf").read_text()


def test_variables_and_outputs_are_described_and_in_order() -> None:
    """Each has a sentence, so that a reader of a plan knows what it asks for."""
    for file, kind in (("variables.tf", "variable"), ("outputs.tf", "output")):
        blocks = terraform.blocks(file, kind)
        assert list(blocks) == sorted(blocks)
        assert all(block["description"].strip('"').endswith(".") for block in blocks.values())
