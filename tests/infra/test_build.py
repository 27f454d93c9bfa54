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


def test_steps_are_in_order() -> None:
    """A step waits for steps before it alone, and the first one tests."""
    seen: set[str] = set()
    for step in BUILD["steps"]:
        assert set(step.get("waitFor", [])) <= seen | {"-"}, step["id"]
        seen.add(step["id"])
    assert BUILD["steps"][0]["id"] == "test"


def test_nothing_is_rolled_out_untested() -> None:
    """What is pushed or rolled out waits for the tests."""
    waits = {step["id"]: set(step.get("waitFor", [])) for step in BUILD["steps"]}

    def after(step: str) -> set[str]:
        return waits[step] | {earlier for wait in waits[step] - {"-"} for earlier in after(wait)}

    for step in waits:
        if step.startswith("roll out") or step == "push":
            assert "test" in after(step)


def test_substitutions() -> None:
    """Every substitution has a default and is used."""
    text = (ROOT / "cloudbuild.yaml").read_text()
    used = set(re.findall(r"\$\{(_?[A-Z_]+)\}", text))
    assert used - BUILT_IN == set(BUILD["substitutions"])


def test_logs_go_to_cloud_logging() -> None:
    """A build account of one's own may not write to Google's log bucket."""
    for name in (ROOT / "cloudbuild.yaml", FIRST_IMAGE):
        assert yaml.safe_load(name.read_text())["options"]["logging"] == "CLOUD_LOGGING_ONLY"


def test_the_build_names_what_is_made() -> None:
    """The build names the services, buckets, images and secrets that Terraform makes."""
    text = (ROOT / "cloudbuild.yaml").read_text()
    for name in ("${_NAME}-supervisor", "${_NAME}-function", "${PROJECT_ID}-${_NAME}-source", "/supervisor"):
        assert name in text
    terraformed = "\n".join(path.read_text() for path in terraform.MODULE.glob("*.tf"))
    for name in ('"${var.name}-supervisor"', '"${var.name}-function"', '"${var.project_id}-${var.name}-source"'):
        assert name in terraformed
    assert '"${var.name}-${each.key}"' in terraformed
    assert "${_NAME}-openai-webhook-secret" in text


def test_files_of_scripts_exist() -> None:
    """Scripts of the build name files that exist."""
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
def test_an_agents_name_is_enough(tmp_path: Path, build: str, agent: str, folder: str) -> None:
    """From an agent's name both its folder and its name get into the image."""
    done = build_image(tmp_path, BUILD_SCRIPTS[build], agent)
    assert done.returncode == 0, done.stderr
    assert {
        f"--build-arg=AGENT={agent}",
        f"--build-arg=AGENT_FOLDER={folder}",
        "--file=supervisor/Dockerfile",
        "--tag=supervisor:1",
    } <= set(done.stdout.splitlines())


@pytest.mark.parametrize("build", BUILD_SCRIPTS)
def test_no_build_without_an_agent(tmp_path: Path, build: str) -> None:
    """With a default, who forgot the name would put the example on a shop's line."""
    done = build_image(tmp_path, BUILD_SCRIPTS[build], agent="")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "_AGENT=shop:agent" in done.stderr
    assert BUILD["substitutions"]["_AGENT"] == ""


def build_image(folder: Path, script: str, agent: str) -> subprocess.CompletedProcess[str]:
    """Run a build's script, with a docker that prints its arguments."""
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


def test_every_build_names_the_agent() -> None:
    """Each way to build an image passes the agent's name on."""
    for path in (ROOT / "cloudbuild.yaml", FIRST_IMAGE):
        assert '"AGENT=${_AGENT}"' in path.read_text(), path
    terraformed = terraform.read()
    assert "_AGENT=$AGENT" in str(terraformed["terraform_data.first_image"])
    assert "_AGENT" in terraformed["google_cloudbuild_trigger.push"]["substitutions"]


def test_no_state_or_secret_leaves(tmp_path: Path) -> None:
    """No state and no secret is committed, or sent to the build."""
    shutil.copyfile(ROOT / ".gitignore", tmp_path / ".gitignore")
    kept_out = {".env", "infra/terraform.tfstate", "infra/terraform.tfstate.backup", "infra/prod.tfvars", ".venv/x"}
    kept = {"sessions.json", "infra/backend.tf", "shop/__init__.py"}
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True, timeout=60)
    command = ["git", "check-ignore", *kept_out, *kept]
    ignored = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert set(ignored.stdout.splitlines()) == kept_out
    assert "#!include:.gitignore" in (ROOT / ".gcloudignore").read_text().splitlines()


def test_a_service_that_fails() -> None:
    """A new revision that does not serve fails the build, and says why."""

    def check(service: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "infra/scripts/serving.py")]
        return subprocess.run(
            command, input=json.dumps(service), capture_output=True, text=True, check=False, timeout=60
        )

    good = {"uri": "https://f.run.app", "terminalCondition": {"state": "CONDITION_SUCCEEDED"}}
    assert check(good).stdout == "https://f.run.app\n"
    bad = {**good, "terminalCondition": {"state": "CONDITION_FAILED", "message": "the container did not start"}}
    done = check(bad)
    assert done.returncode == 1
    assert done.stderr == "The new revision does not serve: the container did not start\n"


async def test_the_smoke_test_rings_nobody() -> None:
    """Signed, published, claimed, and settled as missed, since OpenAI knows no such call."""
    async with local_system(agent="examples.bikes:agent") as system:
        function = await system.start_function()
        supervisor = await system.start_supervisor()
        url = str(system.stand_in.options.webhook_url)
        call_id, outcome = await asyncio.to_thread(smoke.send, url, system.environment["OPENAI_WEBHOOK_SECRET"])
        assert outcome == "published"
        assert (await supervisor.logged("ended"))["reason"] == "missed"
        assert (await function.logged("Published a call"))["call_id"] == call_id


def test_a_smoke_test_fails() -> None:
    """With a wrong secret, or nobody there, the smoke test fails."""
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
def test_usage_of_the_smoke_test(arguments: tuple[str, ...], secret: str, says: str) -> None:
    """A smoke test that is called wrongly says how to call it."""
    command = [sys.executable, str(ROOT / "infra/scripts/smoke.py"), *arguments]
    environ = {"OPENAI_WEBHOOK_SECRET": secret}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environ)
    assert done.returncode == 1
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


async def test_a_smoke_tests_wrong_secret() -> None:
    """With another secret than the function's, the smoke test says so."""
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
