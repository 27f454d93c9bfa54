"""The function as it is deployed: the archive that Terraform uploads, with its own requirements and nothing else."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.support.deliveries import incoming
from tests.support.edge_process import BIN, ROOT, running_edge
from tests.support.edge_pubsub import create_topic, pubsub

if TYPE_CHECKING:
    from pathlib import Path

INSTALL_SECONDS = 180


async def run(*command: str | Path, **environment: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), INSTALL_SECONDS)
    assert process.returncode == 0, said.decode()


async def test_the_archive_holds_the_edge_alone(tmp_path: Path) -> None:
    """The archive holds the edge alone. Each module that serves, and nothing of the operator's command."""
    await run(sys.executable, ROOT / "infra/scripts/function_archive.py", tmp_path)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    served = {f"function/{path.name}" for path in (ROOT / "function").glob("*.py")}
    assert files - {"sessions.json"} == served | {"main.py", "requirements.txt"}
    assert not [name for name in files if "webhook_admin" in name or "endpoints" in name]


@pytest.mark.timeout(INSTALL_SECONDS + 60)
async def test_the_archive_boots_and_publishes(tmp_path: Path) -> None:
    """The archive boots in a clean environment, and publishes a call."""
    archive, clean = tmp_path / "archive", tmp_path / "clean"
    await run(sys.executable, ROOT / "infra/scripts/function_archive.py", archive)
    await run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, clean)
    install = ("pip", "sync", "--quiet", "--require-hashes", archive / "requirements.txt")
    await run(BIN / "uv", *install, VIRTUAL_ENV=str(clean))

    command = (clean / "bin/functions-framework", "--target", "edge")
    async with pubsub() as (host_port, claims):
        await create_topic(host_port)
        async with running_edge(archive, command=command, cwd=archive, PUBSUB_EMULATOR_HOST=host_port) as edge:
            call_id = f"rtc_{uuid4().hex}"
            answer = await edge.deliver(incoming(created_at=int(time.time()), call_id=call_id))
            assert answer.outcome == (200, "published")
            assert await claims.next_call_id() == call_id
    started = [path.name for path in (clean / "lib").glob("python*/site-packages/*") if path.is_dir()]
    assert not {"openai", "websockets", "hypothesis", "pytest", "aiohttp"} & set(started)
