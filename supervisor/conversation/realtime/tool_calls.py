"""The tool calls of one conversation: each run and answered once.

    completed ──RunTool──► running ──answer──► sent ──shown by OpenAI──► confirmed, and forgotten with the next response
                                                ▲ │
                                                └─┘ looked up on the next sideband, and sent again if OpenAI lacks it

- A call is run only when its item is `completed`: a response that was cut leaves partial JSON behind. Several kinds of
  event show the same item; its tool call id tells that.
- An output's item id is derived from its tool call's id, so that the call's next owner can look it up.
- The tool calls of one response are a turn. All its outputs go out before the one `response.create` that continues.

It does no I/O; `conversation` feeds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from supervisor.conversation.actions import Action, Answered, Event, RunTool, Send
from supervisor.conversation.realtime.responses import ResponseQueue

OUTPUT_TRIES = 3
"""How often an output is sent when OpenAI neither shows nor keeps it."""
MOST_TOOL_ROUNDS = 8
"""How often the model may call tools before it must speak, unless the caller says something."""

_NOT_THERE = "item_retrieve_invalid_item_id"
_RESTORED = "restored"  # the turn of the tool calls that an earlier owner left


@dataclass(slots=True)
class ToolCall:
    """One function call that the model completed."""

    name: str
    arguments: str
    output: str | None = None
    """What to tell the model; None while the tool runs."""
    confirmed: bool = False
    """Whether OpenAI has shown us the output in the conversation."""
    maybe_sent: bool = False
    """Whether the output was written to a sideband, by us or by an earlier owner of the call."""
    sends: int = 0
    """How often we sent the output."""
    lookups: int = 0
    """How often we asked OpenAI whether it has the output, since the last attach."""


@dataclass(slots=True)
class _Turn:
    """The tool calls of one response.

    Once it is complete and none is open, the model is asked to continue.
    """

    open_calls: set[str] = field(default_factory=set)
    complete: bool = False
    new_output: bool = False
    """Whether we sent an output of it, which the model may not have spoken of yet."""


def output_item_id(tool_call_id: str) -> str:
    """Derive the id of the item that answers a tool call.

    It has 32 characters, the most that OpenAI takes.

    Examples:
        >>> output_item_id("call_1") == output_item_id("call_1")
        True
        >>> len(output_item_id("call_1"))
        32
    """
    return "out_" + hashlib.sha256(tool_call_id.encode()).hexdigest()[:28]


@dataclass(eq=False, slots=True, repr=False)
class ToolCalls:
    """The tool calls that are not done with, and their turns."""

    _responses: ResponseQueue
    """Where an answered turn queues the continuation."""
    by_id: dict[str, ToolCall] = field(default_factory=dict)
    """By tool call id; a confirmed one is forgotten with the next response."""
    _turns: dict[str, _Turn] = field(default_factory=dict)
    """By response id."""
    _ids_by_event: dict[str, str] = field(default_factory=dict)
    """Tool call ids by the ids of our events about their outputs, which errors name."""
    _rounds: int = 0

    @property
    def running(self) -> bool:
        """Whether any tool call has no output yet."""
        return any(call.output is None for call in self.by_id.values())

    @property
    def all_shown(self) -> bool:
        """Whether OpenAI has shown every output that there is."""
        return all(call.confirmed or call.output is None for call in self.by_id.values())

    def answer(self, tool_call_id: str, output: str) -> list[Send]:
        """Send a tool's output.

        The last of its turn also asks the model to continue.
        """
        call = self.by_id.get(tool_call_id)
        if call is None or call.output is not None:
            return []
        call.output = output
        return self._send_output(tool_call_id, call)

    def restore(self, tool_calls: Mapping[str, ToolCall]) -> list[Action]:
        """Take over tool calls that an earlier owner left.

        Those without an output are run; the next attach delivers the outputs of the others.
        """
        new = {id_: call for id_, call in tool_calls.items() if id_ not in self.by_id}
        self.by_id |= new
        if unconfirmed := {id_ for id_, call in new.items() if not call.confirmed}:
            self._turns.setdefault(_RESTORED, _Turn(complete=True)).open_calls |= unconfirmed
        return [RunTool(id_, call.name, call.arguments) for id_, call in new.items() if call.output is None]

    def restore_late(self, tool_calls: Mapping[str, ToolCall]) -> list[Action]:
        """Take over tool calls that an earlier owner left, while attached.

        For a record that could be read only after the attach: outputs are delivered at once.
        """
        new = [id_ for id_ in tool_calls if id_ not in self.by_id]
        return [*self.restore(tool_calls), *self._deliver(new)]

    # What events do to the tool calls.

    def on_item(self, item: Event, response_id: str) -> list[Action]:
        """Run a function call that the model completed.

        It is run once, however many events show it.
        """
        tool_call_id = item.get("call_id")
        if item.get("type") != "function_call" or item.get("status") != "completed":
            return []
        if not isinstance(tool_call_id, str) or not tool_call_id or tool_call_id in self.by_id:
            return []
        call = self.by_id[tool_call_id] = ToolCall(_text(item.get("name")), _text(item.get("arguments")))
        self._turns.setdefault(response_id, _Turn()).open_calls.add(tool_call_id)
        return [RunTool(tool_call_id=tool_call_id, name=call.name, arguments=call.arguments)]

    def on_shown(self, item: Event) -> list[Action]:
        """Confirm an output of ours that OpenAI shows in the conversation."""
        call = self.by_id.get(item.get("call_id") or "")
        if item.get("type") != "function_call_output" or call is None or call.confirmed:
            return []
        call.confirmed = True
        return [Answered(tool_call_id=item["call_id"]), *self._close(item["call_id"], new_output=False)]

    def on_error(self, event_id: str, code: str | None) -> list[Send]:
        """Look up or send again the output that an error is about.

        A few times; errors about other events change nothing.
        """
        tool_call_id = self._ids_by_event.pop(event_id, "")
        call = self.by_id.get(tool_call_id)
        if call is None or call.confirmed:
            return []
        if code != _NOT_THERE and call.lookups < OUTPUT_TRIES:
            return [self._look_up(tool_call_id, call)]
        if call.sends < OUTPUT_TRIES:  # should it be there after all, OpenAI refuses a second one with the same id
            return self._send_output(tool_call_id, call)
        return []

    def on_response_done(self, response_id: str) -> list[Send]:
        """Complete a response's turn.

        If all its tool calls are answered, the model is asked to continue.
        """
        if turn := self._turns.get(response_id):
            turn.complete = True
            return self._continue(turn)
        return []

    def on_attached(self) -> list[Send]:
        """Deliver every unconfirmed output, and complete every turn.

        A new sideband shows nothing that happened before.
        """
        self._ids_by_event.clear()
        actions = self._deliver(self.by_id)
        for response_id in list(self._turns):
            actions += self.on_response_done(response_id)
        return actions

    def on_caller(self) -> None:
        """Let the model call tools again, since the caller takes part."""
        self._rounds = 0

    def forget_confirmed(self, *, but: AbstractSet[str]) -> None:
        """Forget confirmed tool calls.

        Those in `but` stay: the response that is just done shows them once more.
        """
        forgotten = {id_ for id_, call in self.by_id.items() if call.confirmed and id_ not in but}
        if forgotten:
            self.by_id = {id_: call for id_, call in self.by_id.items() if id_ not in forgotten}
            self._ids_by_event = {event: id_ for event, id_ in self._ids_by_event.items() if id_ not in forgotten}

    def _deliver(self, tool_call_ids: Iterable[str]) -> list[Send]:
        """Look up or send each unconfirmed output.

        Those that may have been sent are looked up first.
        """
        actions: list[Send] = []
        for tool_call_id in list(tool_call_ids):
            call = self.by_id[tool_call_id]
            if call.output is None or call.confirmed:
                continue
            if call.maybe_sent:
                call.lookups = 0
                actions.append(self._look_up(tool_call_id, call))
            else:
                actions += self._send_output(tool_call_id, call)
        return actions

    def _send_output(self, tool_call_id: str, call: ToolCall) -> list[Send]:
        """Send an output, and close its tool call."""
        call.sends += 1
        call.maybe_sent = True
        event = self._responses.new_event("conversation.item.create")
        item = {"type": "function_call_output", "call_id": tool_call_id, "output": call.output}
        event["item"] = {"id": output_item_id(tool_call_id), **item}
        self._ids_by_event[event["event_id"]] = tool_call_id
        return [Send(event), *self._close(tool_call_id, new_output=True)]

    def _look_up(self, tool_call_id: str, call: ToolCall) -> Send:
        """Ask OpenAI whether it has an output."""
        call.lookups += 1
        event = self._responses.new_event("conversation.item.retrieve")
        event["item_id"] = output_item_id(tool_call_id)
        self._ids_by_event[event["event_id"]] = tool_call_id
        return Send(event)

    def _close(self, tool_call_id: str, *, new_output: bool) -> list[Send]:
        """Note that a tool call is answered.

        The last of its turn asks the model to continue.
        """
        turn = next((turn for turn in self._turns.values() if tool_call_id in turn.open_calls), None)
        if turn is None:
            return []
        turn.open_calls.remove(tool_call_id)
        turn.new_output = turn.new_output or new_output
        return self._continue(turn)

    def _continue(self, turn: _Turn) -> list[Send]:
        """Ask the model to continue, if the turn is answered."""
        if not turn.complete or turn.open_calls:
            return []
        self._turns = {id_: other for id_, other in self._turns.items() if other is not turn}
        if not turn.new_output:
            return []
        self._rounds += 1
        return self._responses.add({"tool_choice": "none"} if self._rounds > MOST_TOOL_ROUNDS else None)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
