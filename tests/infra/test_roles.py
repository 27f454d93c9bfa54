"""Who may do what: the exact list, so that a role that is added or widened has to be added here, too."""

import re
from pathlib import Path
from typing import Any

from tests.infra import terraform

Grant = tuple[str, str, str]

FUNCTION: set[Grant] = {
    ("google_pubsub_topic", "calls", "roles/pubsub.publisher"),
    ("google_secret_manager_secret", "openai-webhook-secret", "roles/secretmanager.secretAccessor"),
    ("google_secret_manager_secret", "openai-api-key", "roles/secretmanager.secretAccessor"),  # for browsers
    ("google_secret_manager_secret", "token-secret", "roles/secretmanager.secretAccessor"),  # for browsers
}
SUPERVISOR: set[Grant] = {
    ("google_pubsub_subscription", "claims", "roles/pubsub.subscriber"),
    ("google_secret_manager_secret", "openai-api-key", "roles/secretmanager.secretAccessor"),
    ("google_project", "if resource.name is local.records_database_path", "roles/datastore.user"),
    ("google_project", "", "roles/telemetry.metricsWriter"),
    ("google_project", "", "roles/telemetry.tracesWriter"),
}
BUILD: set[Grant] = {
    ("google_project", "", "roles/logging.logWriter"),
    ("google_artifact_registry_repository", "images", "roles/artifactregistry.writer"),
    ("google_storage_bucket", "source", "roles/storage.objectUser"),
    ("google_cloud_run_v2_service", "function", "roles/run.developer"),
    ("google_cloud_run_v2_worker_pool", "supervisor", "roles/run.developer"),
    ("google_secret_manager_secret", "openai-webhook-secret", "roles/secretmanager.secretAccessor"),
    ("google_service_account", "build, function, supervisor", "roles/iam.serviceAccountUser"),
}
PUBSUB_AGENT: set[Grant] = {
    ("google_pubsub_topic", "dead_letters", "roles/pubsub.publisher"),
    ("google_pubsub_subscription", "claims", "roles/pubsub.subscriber"),
}
AUTOSCALER: set[Grant] = {
    ("google_project", "", "roles/monitoring.viewer"),
    ("google_project", "", "roles/parametermanager.parameterViewer"),
    ("google_cloud_run_v2_worker_pool", "var.worker_pool", "roles/run.developer"),
    ("google_service_account", "var.worker_pool_account", "roles/iam.serviceAccountUser"),
}


def grants(module: Path = terraform.MODULE) -> dict[str, set[Grant]]:
    """Return every grant: account -> (kind of resource, which, role)."""
    found: dict[str, set[Grant]] = {}
    for address, resource in terraform.read(module).items():
        type_, _, _ = address.partition(".")
        if match := re.fullmatch(r"(\w+)_iam_(member|binding|policy)", type_):
            member = _account(terraform.references(resource["member"]))
            roles = re.findall(r"roles/[\w.]+", str(resource["role"])) or re.findall(
                r"roles/[\w.]+", str(resource["for_each"])
            )
            found.setdefault(member, set()).update((match[1], _what(resource), role) for role in roles)
    return found


def _account(member: str) -> str:
    match = re.fullmatch(r"google_service_account\.(\w+)\.member|local\._(pubsub_agent)", member)
    return match[1] or match[2] if match else member


def _what(resource: dict[str, Any]) -> str:
    """Return the resource that a grant is on, by its name in Terraform."""
    if "condition" in resource:
        (condition,) = resource["condition"]
        (path,) = re.findall(r'resource\.name == \\"\$\{([\w.]+)\}\\"', condition["expression"])
        return f"if resource.name is {path}"
    for key in ("topic", "subscription", "secret_id", "repository", "bucket", "name", "service_account_id"):
        if key in resource:
            text = terraform.references(resource[key])
            if text == "each.value":
                accounts = re.findall(r"google_service_account\.(\w+)\.name", str(resource["for_each"]))
                return ", ".join(sorted(accounts))
            secret = re.search(r'\["([\w-]+)"\]', text)
            return secret[1] if secret else text.split(".")[1] if text.startswith("google_") else text
    return ""


def test_each_account_has_its_roles() -> None:
    """Each account has exactly the roles that it needs."""
    assert grants() == {
        "function": FUNCTION,
        "supervisor": SUPERVISOR,
        "build": BUILD,
        "pubsub_agent": PUBSUB_AGENT,
    }


def test_roles_of_the_autoscaler() -> None:
    """The autoscaler may scale this pool, and nothing else."""
    assert grants(terraform.INFRA / "modules/crema") == {"this": AUTOSCALER}


def test_nobody_else_is_let_in() -> None:
    """No grant to everybody, no basic role, no keys of accounts."""
    for path in terraform.INFRA.rglob("*.tf"):
        text = re.sub(r"#.*", "", path.read_text())
        assert not re.search(r"allUsers|allAuthenticatedUsers|roles/(owner|editor|viewer)\b", text), path
        assert "google_service_account_key" not in text, path


def test_a_wider_role_is_seen(tmp_path: Path) -> None:
    """A role that is widened is found."""
    module = terraform.copy(tmp_path)
    terraform.change(module, "iam.tf", '"roles/pubsub.publisher"', '"roles/pubsub.editor"')
    assert grants(module)["function"] != FUNCTION


def test_a_grant_on_the_project_is_seen(tmp_path: Path) -> None:
    """A grant that is moved from a resource to the project is found."""
    module = terraform.copy(tmp_path)
    (module / "more.tf").write_text(
        'resource "google_project_iam_member" "more" {\n'
        "  project = var.project_id\n"
        '  role    = "roles/pubsub.subscriber"\n'
        "  member  = google_service_account.supervisor.member\n"
        "}\n"
    )
    assert grants(module)["supervisor"] - SUPERVISOR == {("google_project", "", "roles/pubsub.subscriber")}


def test_secrets_for_browsers_alone() -> None:
    """The function may read OpenAI's key, and the tokens' secret, only if browsers may call."""
    resources = terraform.read()
    for name, condition in (
        ("function_makes_calls", "local.browsers ? 1 : 0"),
        ("function_reads_token_secret", "local.browsers_share_secret ? 1 : 0"),
    ):
        grant = resources[f"google_secret_manager_secret_iam_member.{name}"]
        assert terraform.references(grant["count"]) == condition
