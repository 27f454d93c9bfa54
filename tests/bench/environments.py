"""Throw-away environments for what is measured beside us and must not enter the project's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.bench.harness import ROOT

UV = Path(sys.executable).parent / "uv"
UVLOOP = "uvloop==0.23.0"


class Peer(NamedTuple):
    """A package that people would use instead."""

    requirement: str
    script: str
    """In `clients/`."""


PEERS = {
    "openai": Peer("openai[realtime]==3.52.0", "openai_sdk.py"),
    "openai-agents": Peer("openai-agents==0.24.0", "openai_agents.py"),
    "pydantic-ai": Peer("pydantic-ai-slim[openai,openai-realtime]==2.68.0", "pydantic_ai_session.py"),
}


def environment(name: str) -> str:
    """Make a peer's environment, unless it is there; returns its Python."""
    folder = ROOT / "build" / "peers" / name
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([UV, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        packages = (PEERS[name].requirement, UVLOOP)
        subprocess.run([str(UV), "pip", "install", "--quiet", "--python", str(python), *packages], check=True)
        (folder / ".ready").touch()
    return str(python)
