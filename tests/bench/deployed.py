"""The packages that a deployable is deployed with, and no others: libraries also load what they find beside them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Literal

from tests.support.edge_process import BIN, ROOT

INSTALL_SECONDS = 300


async def deployed_python(folder: Path, deployable: Literal["function", "supervisor"]) -> Path:
    """Make an environment in a folder, from a deployable's locked requirements; returns its Python."""
    environment = folder / f"{deployable}-environment"
    uv = BIN / "uv"
    await _run(uv, "venv", "--quiet", "--python", BIN / "python", environment)
    requirements = ROOT / deployable / "requirements.txt"
    await _run(uv, "pip", "sync", "--quiet", "--require-hashes", requirements, VIRTUAL_ENV=str(environment))
    return environment / "bin/python"


async def _run(*command: str | Path, **environment: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | environment)
    try:
        status = await asyncio.wait_for(process.wait(), INSTALL_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    assert status == 0, f"{command[1]} failed; uv said why above"
