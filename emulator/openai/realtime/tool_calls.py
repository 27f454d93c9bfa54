"""The model's tool calls that wait for an output or an approval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emulator.openai.script import Mcp

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator.openai.realtime.items import Item
    from emulator.openai.script import McpCall


class ToolCalls:
    """The open tool calls of one conversation, and what came for them.

    Args:
        note: Called with outputs and approvals that nobody asked for.
    """

    def __init__(self, note: Callable[[str, dict[str, Any]], None]) -> None:
        self.pending: set[str] = set()
        """The ids of the calls without an output."""
        self.fresh_outputs: list[str] = []
        """Outputs to which no response has come yet."""
        self._note = note
        self._answered: set[str] = set()
        self._approvals: dict[str, McpCall] = {}
        self._approved: list[Mcp] = []

    def start(self, call_id: str) -> None:
        """Wait for a function's output."""
        self.pending.add(call_id)

    def add_output(self, item: Item) -> None:
        """Take a call's output; one that nobody waits for is noted."""
        call_id = item["call_id"]
        if call_id in self._answered:
            self._note("duplicate_tool_output", item)
        elif call_id not in self.pending:
            self._note("unknown_tool_call", item)
        self.pending.discard(call_id)
        self._answered.add(call_id)
        self.fresh_outputs.append(item["output"])

    def ask_approval(self, item_id: str, call: McpCall) -> None:
        """Wait for a client's approval of a hosted tool's call."""
        self._approvals[item_id] = call

    def add_approval(self, item: Item) -> None:
        """Take a client's answer to a request for approval."""
        call = self._approvals.pop(item["approval_request_id"], None)
        if call is None:
            self._note("unknown_approval_request", item)
        elif item["approve"]:
            approved = call.model_copy(update={"approval": False, "approved": item["approval_request_id"]})
            self._approved.append(Mcp(mcp=approved))

    def take_approved(self) -> list[Mcp]:
        """Hand over the approved calls that were not made yet."""
        approved, self._approved = self._approved, []
        return approved
