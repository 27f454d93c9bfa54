"""emulator/compose.yaml, without Docker: what it names exists, and what it tells is what is read."""

import re
from typing import Any

import yaml
from typer.testing import CliRunner

import function.settings
import supervisor.settings
from emulator.__main__ import app
from tests.infra import terraform

ROOT = terraform.ROOT
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "emulator/compose.yaml").read_text())["services"]


def test_dockerfiles_exist() -> None:
    """Images are built from Dockerfiles that exist."""
    built = [service["build"] for service in SERVICES.values() if "build" in service]
    assert len(built) == 3
    assert all((ROOT / build["dockerfile"]).is_file() and build["context"] == ".." for build in built)


def test_settings_of_services() -> None:
    """Function and supervisor get settings that they read, and all that they need."""
    for name, settings in (("function", function.settings.Settings), ("supervisor", supervisor.settings.Settings)):
        reads = {field.upper() for field in settings.model_fields}
        assert set(SERVICES[name]["environment"]) - {"FIRESTORE_EMULATOR_HOST"} <= reads
        needed = {field.upper() for field, info in settings.model_fields.items() if info.is_required()}
        assert needed <= set(SERVICES[name]["environment"])


def test_options_of_the_stand_in() -> None:
    """The stand-in is started with options that it has."""
    command = SERVICES["openai"]["command"]
    assert command[:4] == ["python", "-m", "emulator", "openai"]
    shown = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["openai", "--help"])
    for option in (word for word in command if word.startswith("--")):
        assert option in re.sub(r"\x1b\[[0-9;]*m", "", shown.output)


def test_services_wait_for_others() -> None:
    """Services wait for services that exist."""
    for service in SERVICES.values():
        assert set(service.get("depends_on", [])) <= set(SERVICES)
