"""Code and Terraform can't drift apart: settings, metrics, ports and the archive are compared."""

import json
import re
from pathlib import Path

import pytest

import function.settings
import supervisor.settings
from infra.scripts import function_archive
from supervisor.records import firestore
from supervisor.telemetry import metrics
from supervisor.transfer_targets import PATTERN
from tests.infra import terraform

ROOT = terraform.ROOT

# Set by Terraform, read by what the code runs on.
OF_OPENTELEMETRY = {"OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER"}

# Set by the image, so that it fits the code in it.
OF_THE_IMAGE = {"SIDEBAND_AGENT"}

# Settings that Terraform leaves at their defaults, and why.
LEFT_OUT_OF_FUNCTION = {
    "MAX_EVENT_AGE_SECONDS": "the default follows from SIP",
    "OPENAI_TIMEOUT_SECONDS": "the default fits OpenAI",
    "OPENAI_WEBHOOK_SECRET": "OPENAI_WEBHOOK_SECRET_FILE instead, which follows rotations",
    "PUBLISH_TIMEOUT_SECONDS": "the default fits Pub/Sub",
    "PUBSUB_EMULATOR_HOST": "for development",
    "TOKEN_SECRET": "TOKEN_SECRET_FILE instead, which follows rotations",
}
LEFT_OUT_OF_SUPERVISOR = {
    "LOG_PERSONAL_DATA": "off, and to be turned on by hand and for a while",
    "OPENAI_WEBSOCKET_BASE_URL": "follows from OPENAI_BASE_URL",
    "PUBSUB_EMULATOR_HOST": "for development",
}


# The locals that a workload is configured by: plain variables, secrets as variables, and secrets as files.
PLAIN = {"function": ("function_environment", "browser_environment"), "supervisor": ("supervisor_environment",)}
SECRET = {"function": ("browser_secrets",), "supervisor": ("supervisor_secrets",)}
FILES = {"function": ("function_files", "browser_files"), "supervisor": ()}


def set_for(workload: str, module: Path = terraform.MODULE) -> set[str]:
    """Return the environment variables that Terraform sets for a workload."""
    names = (*PLAIN[workload], *SECRET[workload], *FILES[workload])
    return {variable for name in names for variable in terraform.environment(name, module)}


def read_by(settings: type[function.settings.Settings] | type[supervisor.settings.Settings]) -> set[str]:
    """Return the environment variables that a settings class reads."""
    return {name.upper() for name in settings.model_fields}


def test_settings_of_the_function() -> None:
    """Terraform sets what the function reads, also what it reads only when browsers may call."""
    reads = read_by(function.settings.Settings)
    assert set_for("function") == reads - set(LEFT_OUT_OF_FUNCTION)
    assert set(LEFT_OUT_OF_FUNCTION) <= reads


def test_settings_of_the_supervisor() -> None:
    """Terraform sets what the supervisor reads."""
    reads = read_by(supervisor.settings.Settings) - OF_THE_IMAGE
    assert set_for("supervisor") - OF_OPENTELEMETRY == reads - set(LEFT_OUT_OF_SUPERVISOR)
    assert set(LEFT_OUT_OF_SUPERVISOR) <= reads


def test_what_is_left_out_has_a_default() -> None:
    """A setting that Terraform leaves out has a default."""
    for settings, left_out in (
        (function.settings.Settings, LEFT_OUT_OF_FUNCTION),
        (supervisor.settings.Settings, LEFT_OUT_OF_SUPERVISOR),
    ):
        assert not [name for name in left_out if settings.model_fields[name.lower()].is_required()]


def test_a_renamed_setting_is_seen(tmp_path: Path) -> None:
    """A setting that is renamed on one side alone is found."""
    module = terraform.copy(tmp_path)
    terraform.change(module, "supervisor.tf", "    LEASE_SECONDS ", "    LEASE_TIME ")
    reads = read_by(supervisor.settings.Settings) - OF_THE_IMAGE
    assert set_for("supervisor", module) - OF_OPENTELEMETRY != reads - set(LEFT_OUT_OF_SUPERVISOR)


def test_secrets_are_set_as_secrets() -> None:
    """No setting that is secret is a plain variable."""
    for workload, settings in (("function", function.settings.Settings), ("supervisor", supervisor.settings.Settings)):
        secret = {name.upper() for name, field in settings.model_fields.items() if "Secret" in str(field.annotation)}
        plain = {variable for name in PLAIN[workload] for variable in terraform.environment(name)}
        assert secret
        assert not secret & plain


def test_the_health_port() -> None:
    """The port that is probed is the one that the image serves."""
    (port,) = re.findall(r"health_port\s*=\s*(\d+)", (terraform.MODULE / "supervisor.tf").read_text())
    dockerfile = (ROOT / "supervisor/Dockerfile").read_text()
    assert f"HEALTH_ADDRESS=0.0.0.0:{port}" in dockerfile
    assert f"EXPOSE {port}" in dockerfile


def test_the_time_for_a_handover() -> None:
    """Terraform gives a hand-over the time that the code takes by default."""
    (seconds,) = re.findall(r"HANDOVER_SECONDS\s*=\s*(\d+)", (terraform.MODULE / "supervisor.tf").read_text())
    assert float(seconds) == supervisor.settings.Settings.model_fields["handover_seconds"].default


def test_metrics_exist() -> None:
    """Alerts, charts and scaling are about metrics that exist."""
    made = set(re.findall(r'"(sideband_\w+)"', Path(metrics.__file__).read_text()))
    files = [terraform.MODULE / name for name in ("alerts.tf", "dashboard.tf", "../crema/main.tf")]
    text = "\n".join(path.read_text() for path in files)
    text = text.replace("sideband_${metric}_total", "")  # the dashboard's loop, below
    used = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\bsideband_\w+", text)}
    (looped,) = re.findall(r"for metric in \[(.*?)\]", (terraform.MODULE / "dashboard.tf").read_text())
    used |= {f"sideband_{name}_total" for name in re.findall(r'"(\w+)"', looped)}
    assert used <= made
    assert len(used) > 8


def test_the_runbook_has_every_alert() -> None:
    """Every alert has its section in the runbook, and every section its alert."""
    alerts = {name.strip('"') for name in terraform.read()["locals"]["alerts"] if not name.startswith("__")}
    sections = set(re.findall(r"(?m)^## (.+)$", (ROOT / "docs/runbook.md").read_text()))
    assert alerts == sections


def test_what_is_in_the_archive(tmp_path: Path) -> None:
    """`main.py` and `requirements.txt` at the root, the package beside them, nothing of other rooms."""
    function_archive.write(tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    package = {f"function/{path.name}" for path in (ROOT / "function").glob("*.py")}
    assert names - {"sessions.json"} == {"main.py", "requirements.txt"} | package
    assert (tmp_path / "main.py").read_text() == (ROOT / "function/main.py").read_text()


def test_data_files_are_in_the_archive() -> None:
    """A data file that the package reads has to be added to function-archive.json."""
    left_out = {"py.typed", "requirements.txt"}  # what type checkers read, and what is archived at the root
    files = {path.name for path in (ROOT / "function").iterdir() if path.is_file()} - left_out
    archived = {Path(name).name for name in function_archive.files() if name.startswith("function/")}
    assert files == archived


def test_one_list_of_archived_files() -> None:
    """Terraform and the build read the same list of files."""
    assert f'"${{path.module}}/{function_archive.GLOBS.name}"' in (terraform.MODULE / "function.tf").read_text()
    assert function_archive.GLOBS.parent == terraform.MODULE
    assert set(json.loads(function_archive.GLOBS.read_text()).values()) == {"function/", ""}


def test_sessions_go_into_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They lie beside the agent's folder, and in the archive where the function is told to look."""
    (tmp_path / "sessions.json").write_text("{}")
    monkeypatch.setattr(function_archive, "ROOT", tmp_path)
    assert function_archive.files() == {"sessions.json": tmp_path / "sessions.json"}
    environment = terraform.read()["locals"]["browser_environment"]
    assert environment["SESSIONS_FILE"].strip('"') == "/workspace/sessions.json"


def test_transfer_targets() -> None:
    """Terraform takes the transfer targets that the supervisor takes, by the same expression."""
    (condition,) = re.findall(
        r"for target in var.transfer_targets : .*", (terraform.MODULE / "variables.tf").read_text()
    )
    (terraformed,) = re.findall(r'regex\("(.*)"', condition)
    assert terraformed.replace("\\\\", "\\") == PATTERN.pattern


def test_all_of_a_record_expires() -> None:
    """By the field that the store writes, in each of its collections; and none of its texts is indexed."""
    found = terraform.read()
    collections = found["locals"]["records_collections"]
    expiring = {name.strip('"'): field.strip('"') for name, field in collections.items() if not name.startswith("__")}
    assert expiring == firestore.JSON_FIELDS
    for name, field in (("expiry", "expires_at"), ("json", "each.value")):
        resource = found[f"google_firestore_field.{name}"]
        assert terraform.references(resource["for_each"]) == "local.records_collections"
        assert terraform.references(resource["field"]) == field
