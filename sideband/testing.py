"""Rehearse an agent without a phone, a key or a cloud: a scripted caller and model, and your own tools and rules.

    from sideband.testing import rehearse

    async def test_an_order_is_looked_up():
        rehearsal = await rehearse(agent, [{"caller": "Ready?"}, {"tool": "order_status", ...}, {"hang_up": True}])
        assert rehearsal.tools == ["order_status"]
        assert rehearsal.end_reason == "caller_hung_up"

Scripts are described in `emulator.openai.script`. The supervisor is the real one, in this process; only OpenAI, the
caller and the model are stood in for, so a rehearsal shows what your code does, not what a model would say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from emulator.openai import Call, ScriptError
from sideband._rig import Rig, entries, rig
from supervisor.agents.agent import Agent
from supervisor.agents.router import Router, load
from supervisor.records.record import CallRecord


class RehearsalError(Exception):
    """The rehearsal can't be played; the message says what is wrong with it."""


@dataclass(frozen=True)
class Rehearsal:
    """What happened."""

    record: CallRecord
    call: Call

    @property
    def end_reason(self) -> str | None:
        """Why the call ended, such as `caller_hung_up`."""
        return self.record.end_reason

    @property
    def tools(self) -> list[str]:
        """The names of the tools that were called, in order."""
        return [entry.name for entry in self.record.journal.values()]

    @property
    def outputs(self) -> list[str]:
        """What the model was told by each tool, in order."""
        return [entry.outcome or "" for entry in self.record.journal.values()]

    @property
    def transcript(self) -> list[tuple[str, str]]:
        """Who said what: `caller` or `agent`, and the words, in order."""
        ordered = sorted(self.record.transcript, key=lambda segment: segment.order)
        return [(segment.role, segment.text) for segment in ordered]

    @property
    def instructions(self) -> list[str]:
        """What the model was told to say: the greeting, `call.say`, goodbyes."""
        asked = (entry.payload["response"] for entry in entries(self.call, "frame_in", "response.create"))
        return [response["instructions"] for response in asked if "instructions" in response]

    @property
    def transfers(self) -> list[str]:
        """Where the caller was transferred to, or was tried to be."""
        return [entry.payload["body"]["target_uri"] for entry in entries(self.call, "rest", "refer")]

    @property
    def rejected_with(self) -> int | None:
        """The SIP status code that the caller got instead of an answer."""
        rejected = entries(self.call, "end", "rejected")
        return rejected[0].payload["status_code"] if rejected else None


async def rehearse(
    agent: Agent | Router | str,
    script: Iterable[Mapping[str, Any]],
    *,
    from_number: str = "+31201234567",
    to_number: str = "+31207654321",
    headers: Iterable[tuple[str, str]] = (),
    context: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    transfer_targets: str = "*",
) -> Rehearsal:
    """Play a call against an agent, and tell what happened.

    Args:
        agent: an agent, a router, or the `module:attribute` of one.
        script: what caller and model say; see `emulator.openai.script`.
        from_number: who calls.
        to_number: who is called.
        headers: further SIP headers.
        context: claims that your backend would vouch for.
        options: of the stand-in for OpenAI, see `emulator.openai.Options`.
        transfer_targets: the setting `TRANSFER_TARGETS`.

    Raises:
        ScriptError: a step can't be played.
        TimeoutError: the call did not end within half a minute; scripts end with {"hang_up": true}.
    """
    answering = load(agent) if isinstance(agent, str) else agent
    async with rig(answering, options=options, transfer_targets=transfer_targets) as rigged:
        call = await rigged.stand_in.place_call(
            script, from_number=from_number, to_number=to_number, headers=list(headers), webhook=False
        )
        await rigged.announce(call, context=dict(context or {}))
        return Rehearsal(await _ended(rigged, call), call)


async def _ended(rigged: Rig, call: Call) -> CallRecord:
    try:
        return await rigged.ended(call)
    except TimeoutError:
        if call.script.due is None:
            raise TimeoutError("the call did not end: end the script with hang_up, or have the agent hang up") from None
        at = f"step {call.script.position + 1} of {len(call.script)}"
        raise TimeoutError(f"the call did not end; the script stands before {at}: {call.script.due}") from None


class Expected(BaseModel):
    """What a script file expects; what is left out is not checked."""

    model_config = ConfigDict(extra="forbid")

    tools: list[str] | None = None
    end_reason: str | None = None
    transfers: list[str] | None = None
    rejected_with: int | None = None
    says: list[str] = []
    """Pieces that must be in the transcript or among the instructions."""

    def missed_by(self, rehearsal: Rehearsal) -> list[str]:
        """What was expected and did not happen, a sentence each."""
        missed = [
            f"{name}: expected {wanted}, got {got}"
            for name in ("tools", "end_reason", "transfers", "rejected_with")
            if (wanted := getattr(self, name)) is not None and (got := getattr(rehearsal, name)) != wanted
        ]
        words = "\n".join([*rehearsal.instructions, *(text for _, text in rehearsal.transcript)])
        return [*missed, *(f"says: nobody said {piece!r}" for piece in self.says if piece not in words)]


class ScriptFile(BaseModel):
    """A rehearsal as a YAML file."""

    model_config = ConfigDict(extra="forbid")

    script: list[dict[str, Any]]
    from_number: str = "+31201234567"
    to_number: str = "+31207654321"
    headers: list[tuple[str, str]] = []
    context: dict[str, Any] = {}
    expect: Expected = Expected()


async def rehearse_file(agent: str, path: Path) -> tuple[Rehearsal, list[str]]:
    """Play a YAML file against an agent; also returns what it expected and did not get.

    Raises:
        RehearsalError: the file is missing, is not YAML, or is not a rehearsal.
    """
    try:
        file = ScriptFile.model_validate(yaml.safe_load(await asyncio.to_thread(path.read_text)))
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
    except yaml.YAMLError as error:
        raise RehearsalError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise RehearsalError(f"{path}: {problems}; it begins with script:") from error
    return rehearsal, file.expect.missed_by(rehearsal)
