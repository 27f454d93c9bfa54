"""Rehearsals as YAML files.

A file has the script of a call, and what is expected of it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from emulator.openai import ScriptError
from sideband.testing import Rehearsal, rehearse


class RehearsalError(Exception):
    """The rehearsal can't be played; the message says what is wrong with its file."""


class Expected(BaseModel):
    """What a file expects; what is left out is not checked."""

    model_config = ConfigDict(extra="forbid")

    tools: list[str] | None = None
    end_reason: str | None = None
    transfers: list[str] | None = None
    rejected_with: int | None = None
    says: list[str] = []
    """Pieces that must be in the transcript or among the instructions."""

    def missed_by(self, rehearsal: Rehearsal) -> list[str]:
        """List what was expected and did not happen, a sentence each."""
        missed = [
            f"{name}: expected {wanted}, got {got}"
            for name in ("tools", "end_reason", "transfers", "rejected_with")
            if (wanted := getattr(self, name)) is not None and (got := getattr(rehearsal, name)) != wanted
        ]
        words = "\n".join([*rehearsal.instructions, *(text for _, text in rehearsal.transcript)])
        return [*missed, *(f"says: nobody said {piece!r}" for piece in self.says if piece not in words)]


class RehearsalFile(BaseModel):
    """What a file holds."""

    model_config = ConfigDict(extra="forbid")

    script: list[dict[str, Any]]
    from_number: str = "+31201234567"
    to_number: str = "+31207654321"
    headers: list[tuple[str, str]] = []
    context: dict[str, Any] = {}
    expect: Expected = Expected()


async def rehearse_file(agent: str, path: Path) -> tuple[Rehearsal, list[str]]:
    """Play a file against an agent.

    Also returns what the file expected and did not get.

    Raises:
        RehearsalError: the file is missing, is not YAML, or is not a rehearsal.
    """
    try:
        file = RehearsalFile.model_validate(yaml.safe_load(await asyncio.to_thread(path.read_text)))
        rehearsal = await rehearse(
            agent,
            file.script,
            from_number=file.from_number,
            to_number=file.to_number,
            headers=file.headers,
            context=file.context,
        )
    except (ScriptError, TimeoutError) as error:
        raise RehearsalError(f"{path}: {error}") from error
    except OSError as error:
        raise RehearsalError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RehearsalError(f"{path}: not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise RehearsalError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise RehearsalError(f"{path}: {problems}; it begins with script:") from error
    return rehearsal, file.expect.missed_by(rehearsal)
