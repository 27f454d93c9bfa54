"""Rehearse an agent without a phone, a key or a cloud.

The caller and the model follow a script; tools and rules are your own.

    from sideband.testing import rehearse

    async def test_order_is_looked_up():
        rehearsal = await rehearse(
            agent,
            [
                {"caller": "Is B-1042 ready?"},
                {"tool": "order_status", "arguments": {"order_id": "B-1042"}},
                {"model": "On Thursday."},
                {"hang_up": True},
            ],
        )
        assert rehearsal.tools == ["order_status"]
        assert rehearsal.end_reason == "caller_hung_up"

The supervisor is the real one, in this process; only OpenAI, the caller and the model are stood in for. So a rehearsal
shows what your code does, not what a model would say. `emulator.openai.script` describes all steps of a script.
`rehearse` needs `pip install 'sideband[testing]'`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.openai import Call
    from sideband._rig import Rig
    from supervisor.agents.agent import Agent
    from supervisor.agents.router import Router
    from supervisor.records.record import CallRecord

__all__ = ["Rehearsal", "rehearse"]


@dataclass(frozen=True)
class Rehearsal:
    """What happened in a rehearsed call."""

    record: CallRecord
    """The call's record, as the supervisor wrote it."""
    call: Call
    """The call as OpenAI's side saw it; `call.log` has everything that was sent."""

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
        """What each tool answered the model, in order."""
        return [entry.outcome or "" for entry in self.record.journal.values()]

    @property
    def transcript(self) -> list[tuple[str, str]]:
        """Who said what: `caller` or `agent`, and the words, in order."""
        ordered = sorted(self.record.transcript, key=lambda segment: segment.order)
        return [(segment.role, segment.text) for segment in ordered]

    @property
    def instructions(self) -> list[str]:
        """What the model was instructed to say: the greeting, `call.say`, goodbyes."""
        responses = (payload["response"] for payload in self._seen("frame_in", "response.create"))
        return [response["instructions"] for response in responses if "instructions" in response]

    @property
    def transfers(self) -> list[str]:
        """Where the caller was transferred to, whether or not it worked."""
        return [payload["body"]["target_uri"] for payload in self._seen("rest", "refer")]

    @property
    def rejected_with(self) -> int | None:
        """The SIP status code that the caller got instead of an answer."""
        return next((payload["status_code"] for payload in self._seen("end", "rejected")), None)

    def _seen(self, kind: str, type_: str) -> list[Mapping[str, Any]]:
        """List what OpenAI's side saw of one kind."""
        return [entry.payload for entry in self.call.log if entry.kind == kind and entry.type == type_]


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
    """Play a call against an agent; returns what happened.

    Args:
        agent: an agent, a router, or the `module:attribute` of one.
        script: what caller and model do, a step each; see `emulator.openai.script`.
        from_number: who calls.
        to_number: who is called.
        headers: further SIP headers.
        context: claims that your backend would vouch for.
        options: of the stand-in for OpenAI, see `emulator.openai.Options`.
        transfer_targets: the setting `TRANSFER_TARGETS`.

    Raises:
        ScriptError: a step can't be played.
        TimeoutError: the call did not end within half a minute; scripts end with {"hang_up": True}.
    """
    from sideband._rig import rig  # noqa: PLC0415 - supervisor and stand-ins are loaded when a test needs them
    from supervisor.agents.router import load  # noqa: PLC0415 - the same

    router_or_agent = load(agent) if isinstance(agent, str) else agent
    async with rig(router_or_agent, options=options, transfer_targets=transfer_targets) as rigged:
        call = await rigged.stand_in.place_call(
            script, from_number=from_number, to_number=to_number, headers=list(headers), webhook=False
        )
        await rigged.announce(call, context=dict(context or {}))
        return Rehearsal(await _ended(rigged, call), call)


async def _ended(rigged: Rig, call: Call) -> CallRecord:
    """Wait for the record of a call that has ended, or say which step of the script is not played yet."""
    try:
        return await rigged.ended(call)
    except TimeoutError:
        if call.script.due is None:
            raise TimeoutError("the call did not end: end the script with hang_up, or have the agent hang up") from None
        step = f"step {call.script.position + 1} of {len(call.script)}"
        raise TimeoutError(f"the call did not end; the script stands before {step}: {call.script.due}") from None
