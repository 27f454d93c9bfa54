"""The roll-out: cloudbuild.yaml by what it names, and its scripts by running them."""

import asyncio
import base64
import json
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.system import local_system
from infra.scripts import smoke
from tests.infra import terraform

ROOT = terraform.ROOT
BUILD: dict[str, Any] = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
FIRST_IMAGE = terraform.MODULE / "first-image.yaml"
BUILT_IN = {"PROJECT_ID", "BUILD_ID"}


def test_steps_run_in_an_order_that_exists() -> None:
    seen: set[str] = set()
    for step in BUILD["steps"]:
        assert set(step.get("waitFor", [])) <= seen | {"-"}, step["id"]
        seen.add(step["id"])
    assert BUILD["steps"][0]["id"] == "test"


def test_nothing_is_rolled_out_untested() -> None:
    waits = {step["id"]: set(step.get("waitFor", [])) for step in BUILD["steps"]}

    def after(step: str) -> set[str]:
        return waits[step] | {earlier for wait in waits[step] - {"-"} for earlier in after(wait)}

    for step in waits:
        if step.startswith("roll out") or step == "push":
            assert "test" in after(step)


def test_every_substitution_has_a_default_and_a_user() -> None:
    text = (ROOT / "cloudbuild.yaml").read_text()
    used = set(re.findall(r"\$\{(_?[A-Z_]+)\}", text))
    assert used - BUILT_IN == set(BUILD["substitutions"])


def test_logs_go_to_cloud_logging_alone() -> None:
    """A build account of one's own may not write to Google's log bucket."""
    for name in (ROOT / "cloudbuild.yaml", FIRST_IMAGE):
        assert yaml.safe_load(name.read_text())["options"]["logging"] == "CLOUD_LOGGING_ONLY"


def test_the_build_names_what_terraform_makes() -> None:
    text = (ROOT / "cloudbuild.yaml").read_text()
    for name in ("${_NAME}-supervisor", "${_NAME}-function", "${PROJECT_ID}-${_NAME}-source", "/supervisor"):
        assert name in text
    terraformed = "\n".join(path.read_text() for path in terraform.MODULE.glob("*.tf"))
    for name in ('"${var.name}-supervisor"', '"${var.name}-function"', '"${var.project_id}-${var.name}-source"'):
        assert name in terraformed
    assert '"${var.name}-${each.key}"' in terraformed
    assert "${_NAME}-openai-webhook-secret" in text


def test_scripts_name_files_that_exist() -> None:
    scripts = "\n".join(step.get("script", "") for step in BUILD["steps"])
    for path in re.findall(r"\b(?:infra|function|supervisor)/[\w/.-]+\.(?:py|txt)", scripts):
        assert (ROOT / path).is_file(), path


BUILD_SCRIPTS = {
    path.name: next(step["script"] for step in yaml.safe_load(path.read_text())["steps"] if step["id"] == "build")
    for path in (ROOT / "cloudbuild.yaml", FIRST_IMAGE)
}


@pytest.mark.parametrize("build", BUILD_SCRIPTS)
@pytest.mark.parametrize(
    ("agent", "folder"),
    [("shop:agent", "shop"), ("shop.phones.desk:agent", "shop"), ("examples.bikes:agent", "examples")],
)
def test_one_name_of_an_agent_puts_its_folder_and_its_name_into_the_image(
    tmp_path: Path, build: str, agent: str, folder: str
) -> None:
    done = build_image(tmp_path, BUILD_SCRIPTS[build], agent)
    assert done.returncode == 0, done.stderr
    assert {
        f"--build-arg=AGENT={agent}",
        f"--build-arg=AGENT_FOLDER={folder}",
        "--file=supervisor/Dockerfile",
        "--tag=supervisor:1",
    } <= set(done.stdout.splitlines())


@pytest.mark.parametrize("build", BUILD_SCRIPTS)
def test_without_the_name_of_an_agent_nothing_is_built(tmp_path: Path, build: str) -> None:
    """With a default, who forgot the name would put the example on a shop's line."""
    done = build_image(tmp_path, BUILD_SCRIPTS[build], agent="")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "_AGENT=shop:agent" in done.stderr
    assert BUILD["substitutions"]["_AGENT"] == ""


def build_image(folder: Path, script: str, agent: str) -> subprocess.CompletedProcess[str]:
    """Run a build's script with a docker that prints its arguments."""
    docker = folder / "docker"
    docker.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    docker.chmod(0o755)
    environ = {
        "PATH": f"{folder}:/usr/bin:/bin",
        "AGENT": agent,
        "DOCKERFILE": "supervisor/Dockerfile",
        "IMAGE": "supervisor:1",
    }
    command = ["sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environ)


def test_every_build_is_told_the_agent() -> None:
    for path in (ROOT / "cloudbuild.yaml", FIRST_IMAGE):
        assert '"AGENT=${_AGENT}"' in path.read_text(), path
    terraformed = terraform.read()
    assert "_AGENT=$AGENT" in str(terraformed["terraform_data.first_image"])
    assert "_AGENT" in terraformed["google_cloudbuild_trigger.push"]["substitutions"]


def test_no_state_and_no_secret_is_committed_or_sent_to_the_build(tmp_path: Path) -> None:
    shutil.copyfile(ROOT / ".gitignore", tmp_path / ".gitignore")
    kept_out = {".env", "infra/terraform.tfstate", "infra/terraform.tfstate.backup", "infra/prod.tfvars", ".venv/x"}
    kept = {"sessions.json", "infra/backend.tf", "shop/__init__.py"}
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True, timeout=60)
    command = ["git", "check-ignore", *kept_out, *kept]
    ignored = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert set(ignored.stdout.splitlines()) == kept_out
    assert "#!include:.gitignore" in (ROOT / ".gcloudignore").read_text().splitlines()


def test_a_service_that_does_not_serve_fails_the_build() -> None:
    def ask(service: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "infra/scripts/serving.py")]
        return subprocess.run(
            command, input=json.dumps(service), capture_output=True, text=True, check=False, timeout=60
        )

    good = {"uri": "https://f.run.app", "terminalCondition": {"state": "CONDITION_SUCCEEDED"}}
    assert ask(good).stdout == "https://f.run.app\n"
    bad = {**good, "terminalCondition": {"state": "CONDITION_FAILED", "message": "the container did not start"}}
    done = ask(bad)
    assert done.returncode == 1
    assert done.stderr == "The new revision does not serve: the container did not start\n"


async def test_the_smoke_test_arrives_as_a_notice_and_rings_nobody() -> None:
    """Signed, published, claimed, and settled as missed, since OpenAI knows no such call."""
    async with local_system(agent="examples.bikes:agent") as system:
        function = await system.start_function()
        supervisor = await system.start_supervisor()
        url = str(system.stand_in.options.webhook_url)
        call_id, outcome = await asyncio.to_thread(smoke.send, url, system.environment["OPENAI_WEBHOOK_SECRET"])
        assert outcome == "published"
        assert (await supervisor.logged("ended"))["reason"] == "missed"
        assert (await function.logged("Published a call"))["call_id"] == call_id


def test_a_smoke_test_with_a_wrong_secret_or_nobody_there_fails() -> None:
    wrong = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    command = [sys.executable, "-c", "from infra.scripts import smoke; smoke.TRIES = 1; smoke.PAUSE_SECONDS = 0;"]
    command[-1] += "raise SystemExit(smoke.main('http://127.0.0.1:9/webhooks/openai', '" + wrong + "'))"
    environ = {"OPENAI_WEBHOOK_SECRET": wrong, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT, env=environ)
    assert done.returncode == 1
    assert "did not take a signed event" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "secret", "says"),
    [
        ((), "whsec_c2VjcmV0", "OPENAI_WEBHOOK_SECRET=whsec_... python infra/scripts/smoke.py"),
        (
            ("sideband.example/webhooks/openai",),
            "whsec_c2VjcmV0",
            "OPENAI_WEBHOOK_SECRET=whsec_... python infra/scripts/smoke.py",
        ),
        (("http://127.0.0.1:9/",), "", "OPENAI_WEBHOOK_SECRET=whsec_... python infra/scripts/smoke.py"),
        (("http://127.0.0.1:9/",), "whsec_c2VjcmV0x", "not a webhook's secret, whsec_ and base64"),
    ],
)
def test_a_smoke_test_that_is_called_wrongly_says_how(arguments: tuple[str, ...], secret: str, says: str) -> None:
    command = [sys.executable, str(ROOT / "infra/scripts/smoke.py"), *arguments]
    environ = {"OPENAI_WEBHOOK_SECRET": secret}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environ)
    assert done.returncode == 1
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


async def test_a_smoke_test_with_another_secret_than_the_functions_says_so_at_once() -> None:
    async with local_system(agent="examples.bikes:agent") as system:
        await system.start_function()
        url = str(system.stand_in.options.webhook_url)
        wrong = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        command = [sys.executable, str(ROOT / "infra/scripts/smoke.py"), url]
        child = await asyncio.create_subprocess_exec(
            *command, env={"OPENAI_WEBHOOK_SECRET": wrong}, stdout=asyncio.subprocess.PIPE
        )
        stdout, _ = await child.communicate()
    assert child.returncode == 1
    assert stdout.startswith(b"The function knows another secret")
