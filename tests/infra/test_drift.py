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


# The locals that tell a workload: plain variables, secrets as variables, and secrets as files.
PLAIN = {"function": ("function_environment", "browser_environment"), "supervisor": ("supervisor_environment",)}
SECRET = {"function": ("browser_secrets",), "supervisor": ("supervisor_secrets",)}
FILES = {"function": ("function_files", "browser_files"), "supervisor": ()}


def told(workload: str, module: Path = terraform.MODULE) -> set[str]:
    """The environment variables that Terraform sets for a workload."""
    names = (*PLAIN[workload], *SECRET[workload], *FILES[workload])
    return {variable for name in names for variable in terraform.environment(name, module)}


def read_by(settings: type[function.settings.Settings] | type[supervisor.settings.Settings]) -> set[str]:
    """The environment variables that a settings class reads."""
    return {name.upper() for name in settings.model_fields}


def test_the_function_is_told_what_it_reads() -> None:
    """Also what it reads only when browsers may call."""
    reads = read_by(function.settings.Settings)
    assert told("function") == reads - set(LEFT_OUT_OF_FUNCTION)
    assert set(LEFT_OUT_OF_FUNCTION) <= reads


def test_the_supervisor_is_told_what_it_reads() -> None:
    reads = read_by(supervisor.settings.Settings) - OF_THE_IMAGE
    assert told("supervisor") - OF_OPENTELEMETRY == reads - set(LEFT_OUT_OF_SUPERVISOR)
    assert set(LEFT_OUT_OF_SUPERVISOR) <= reads


def test_what_is_left_out_has_a_default() -> None:
    for settings, left_out in (
        (function.settings.Settings, LEFT_OUT_OF_FUNCTION),
        (supervisor.settings.Settings, LEFT_OUT_OF_SUPERVISOR),
    ):
        assert not [name for name in left_out if settings.model_fields[name.lower()].is_required()]


def test_a_setting_that_is_renamed_on_one_side_is_seen(tmp_path: Path) -> None:
    module = terraform.copy(tmp_path)
    terraform.change(module, "supervisor.tf", "    LEASE_SECONDS ", "    LEASE_TIME ")
    reads = read_by(supervisor.settings.Settings) - OF_THE_IMAGE
    assert told("supervisor", module) - OF_OPENTELEMETRY != reads - set(LEFT_OUT_OF_SUPERVISOR)


def test_secrets_are_told_as_secrets() -> None:
    """No setting that is secret is a plain variable."""
    for workload, settings in (("function", function.settings.Settings), ("supervisor", supervisor.settings.Settings)):
        secret = {name.upper() for name, field in settings.model_fields.items() if "Secret" in str(field.annotation)}
        plain = {variable for name in PLAIN[workload] for variable in terraform.environment(name)}
        assert secret
        assert not secret & plain


def test_the_health_port_is_the_images() -> None:
    (port,) = re.findall(r"health_port\s*=\s*(\d+)", (terraform.MODULE / "supervisor.tf").read_text())
    dockerfile = (ROOT / "supervisor/Dockerfile").read_text()
    assert f"HEALTH_ADDRESS=0.0.0.0:{port}" in dockerfile
    assert f"EXPOSE {port}" in dockerfile


def test_the_time_to_hand_over_is_the_codes() -> None:
    (seconds,) = re.findall(r"HANDOVER_SECONDS\s*=\s*(\d+)", (terraform.MODULE / "supervisor.tf").read_text())
    assert float(seconds) == supervisor.settings.Settings.model_fields["handover_seconds"].default


def test_alerts_charts_and_scaling_are_about_metrics_that_exist() -> None:
    made = set(re.findall(r'"(sideband_\w+)"', Path(metrics.__file__).read_text()))
    files = [terraform.MODULE / name for name in ("alerts.tf", "dashboard.tf", "../crema/main.tf")]
    text = "\n".join(path.read_text() for path in files)
    text = text.replace("sideband_${metric}_total", "")  # the dashboard's loop, below
    used = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\bsideband_\w+", text)}
    (looped,) = re.findall(r"for metric in \[(.*?)\]", (terraform.MODULE / "dashboard.tf").read_text())
    used |= {f"sideband_{name}_total" for name in re.findall(r'"(\w+)"', looped)}
    assert used <= made
    assert len(used) > 8


def test_every_alert_has_its_section_in_the_runbook_and_every_section_its_alert() -> None:
    alerts = {name.strip('"') for name in terraform.read()["locals"]["alerts"] if not name.startswith("__")}
    sections = set(re.findall(r"(?m)^## (.+)$", (ROOT / "docs/runbook.md").read_text()))
    assert alerts == sections


def test_the_archive_is_what_the_function_imports(tmp_path: Path) -> None:
    """`main.py` and `requirements.txt` at the root, the package beside them, nothing of other rooms."""
    function_archive.write(tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    package = {f"function/{path.name}" for path in (ROOT / "function").glob("*.py")}
    assert names - {"sessions.json"} == {"main.py", "requirements.txt"} | package
    assert (tmp_path / "main.py").read_text() == (ROOT / "function/main.py").read_text()


def test_what_is_in_the_package_but_no_module_is_in_the_archive_too() -> None:
    """A data file that the package reads has to be added to function-archive.json."""
    left_out = {"requirements.txt"}
    files = {path.name for path in (ROOT / "function").iterdir() if path.is_file()} - left_out
    archived = {Path(name).name for name in function_archive.files() if name.startswith("function/")}
    assert files == archived


def test_terraform_and_the_build_read_the_same_list() -> None:
    assert f'"${{path.module}}/{function_archive.GLOBS.name}"' in (terraform.MODULE / "function.tf").read_text()
    assert function_archive.GLOBS.parent == terraform.MODULE
    assert set(json.loads(function_archive.GLOBS.read_text()).values()) == {"function/", ""}


def test_sessions_go_into_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They lie beside the agent's folder, and in the archive where the function is told to look."""
    (tmp_path / "sessions.json").write_text("{}")
    monkeypatch.setattr(function_archive, "ROOT", tmp_path)
    assert function_archive.files() == {"sessions.json": tmp_path / "sessions.json"}
    told = terraform.read()["locals"]["browser_environment"]
    assert told["SESSIONS_FILE"].strip('"') == "/workspace/sessions.json"


def test_a_transfer_target_that_terraform_takes_is_one_that_the_supervisor_takes() -> None:
    """By the same expression."""
    (condition,) = re.findall(
        r"for target in var.transfer_targets : .*", (terraform.MODULE / "variables.tf").read_text()
    )
    (terraformed,) = re.findall(r'regex\("(.*)"', condition)
    assert terraformed.replace("\\\\", "\\") == PATTERN.pattern


def test_all_that_a_record_is_kept_in_expires() -> None:
    """By the field that the store writes, in each of its collections; and none of its texts is indexed."""
    found = terraform.read()
    collections = found["locals"]["records_collections"]
    told = {name.strip('"'): field.strip('"') for name, field in collections.items() if not name.startswith("__")}
    assert told == firestore.JSON_FIELDS
    for name, field in (("expiry", "expires_at"), ("json", "each.value")):
        resource = found[f"google_firestore_field.{name}"]
        assert terraform.references(resource["for_each"]) == "local.records_collections"
        assert terraform.references(resource["field"]) == field
