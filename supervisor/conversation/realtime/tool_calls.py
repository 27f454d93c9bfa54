"""The tool calls of one conversation: each is run once and answered once, whichever owner began it.

    completed ──RunTool──► running ──finished──► sent ──shown by OpenAI──► confirmed, and in time forgotten
                                                  ▲ │
                                                  └─┘ asked after on the next sideband, and sent again if need be

- A call runs only when its item is `completed`: a response that was cut leaves partial JSON behind. Several kinds of
  event show it; its tool call id tells them apart.
- An output's item id is derived from its tool call's id, so that whoever owns the call next can ask whether it arrived.
- The outputs of all tool calls of one response, a turn, go out before the one `response.create` that continues.

It does no I/O, as `conversation`, which feeds it.
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
    tries: int = 0
    """How often the output was sent, by us."""
    asked: int = 0
    """How often OpenAI was asked whether it has it, since the last attach."""


@dataclass(slots=True)
class _Turn:
    """The tool calls of one response; when it is complete and none is open, the model is asked to go on."""

    open_calls: set[str] = field(default_factory=set)
    complete: bool = False
    news: bool = False
    """Whether the model was told anything that it may not have answered yet."""


def output_item_id(tool_call_id: str) -> str:
    """The id of the item that answers a tool call: derived, and at most 32 characters, which is OpenAI's limit.

    Examples:
        >>> output_item_id("call_1") == output_item_id("call_1")
        True
        >>> len(output_item_id("call_1"))
        32
    """
    return "out_" + hashlib.sha256(tool_call_id.encode()).hexdigest()[:28]


@dataclass(eq=False, slots=True, repr=False)
class ToolCalls:
    """The tool calls that are not settled yet, and the turns that they are parts of."""

    _floor: ResponseQueue
    """Where a turn that is answered asks for the next response."""
    known: dict[str, ToolCall] = field(default_factory=dict)
    """By tool call id."""
    _turns: dict[str, _Turn] = field(default_factory=dict)
    """By response id."""
    _asked: dict[str, str] = field(default_factory=dict)
    """Tool call ids by the event ids of what we sent about their outputs, for errors that name our event."""
    _rounds: int = 0

    @property
    def running(self) -> bool:
        """Whether any tool call has no output yet."""
        return any(call.output is None for call in self.known.values())

    @property
    def all_shown(self) -> bool:
        """Whether OpenAI has shown every output that there is."""
        return all(call.confirmed or call.output is None for call in self.known.values())

    def collect(self, item: Event, response_id: str) -> list[Action]:
        """Take a function call that the model completed, once, however many events show it."""
        tool_call_id = item.get("call_id")
        if item.get("type") != "function_call" or item.get("status") != "completed":
            return []
        if not isinstance(tool_call_id, str) or not tool_call_id or tool_call_id in self.known:
            return []
        call = self.known[tool_call_id] = ToolCall(_text(item.get("name")), _text(item.get("arguments")))
        self._turns.setdefault(response_id, _Turn()).open_calls.add(tool_call_id)
        return [RunTool(tool_call_id=tool_call_id, name=call.name, arguments=call.arguments)]

    def restore(self, tool_calls: Mapping[str, ToolCall]) -> list[Action]:
        """Take over what an earlier owner left: run what has no output; the rest is settled by the next attach."""
        new = {id_: call for id_, call in tool_calls.items() if id_ not in self.known}
        self.known |= new
        if unsettled := {id_ for id_, call in new.items() if not call.confirmed}:
            self._turns.setdefault(_RESTORED, _Turn(complete=True)).open_calls |= unsettled
        return [RunTool(id_, call.name, call.arguments) for id_, call in new.items() if call.output is None]

    def learned(self, tool_calls: Mapping[str, ToolCall]) -> list[Action]:
        """The same, where it came to light only after the attach, since the record was out of reach before."""
        new = [id_ for id_ in tool_calls if id_ not in self.known]
        return [*self.restore(tool_calls), *self._settle(new)]

    def finished(self, tool_call_id: str, output: str) -> list[Action]:
        """Answer a tool call. The last answer of a turn also asks the model to go on."""
        call = self.known.get(tool_call_id)
        if call is None or call.output is not None:
            return []
        call.output = output
        return self._answer(tool_call_id, call)

    def shown(self, item: Event) -> list[Action]:
        """OpenAI shows an item: if that is an output of ours, it has arrived."""
        call = self.known.get(item.get("call_id") or "")
        if item.get("type") != "function_call_output" or call is None or call.confirmed:
            return []
        call.confirmed = True
        return [Answered(tool_call_id=item["call_id"]), *self._close(item["call_id"], news=False)]

    def refused(self, event_id: str, code: str | None) -> list[Action]:
        """An error names this event of ours: if it was about an output, ask again, or send it again, a few times."""
        tool_call_id = self._asked.pop(event_id, "")
        call = self.known.get(tool_call_id)
        if call is None or call.confirmed:
            return []
        if code != _NOT_THERE and call.asked < OUTPUT_TRIES:
            return [self._retrieve(tool_call_id, call)]
        if call.tries < OUTPUT_TRIES:  # a second one has the same id, and would be refused
            return self._answer(tool_call_id, call)
        return []

    def response_done(self, response_id: str) -> list[Action]:
        """No more tool calls come of this response: when all are answered, the model may go on."""
        if turn := self._turns.get(response_id):
            turn.complete = True
            return self._go_on(turn)
        return []

    def attached(self) -> list[Action]:
        """A new sideband shows nothing of before: ask what has arrived, and wait for the end of no response."""
        self._asked.clear()
        actions = self._settle(self.known)
        for response_id in list(self._turns):
            actions += self.response_done(response_id)
        return actions

    def caller_spoke(self) -> None:
        """The caller takes part, so that the model may call tools again."""
        self._rounds = 0

    def forget(self, *, but: AbstractSet[str | None]) -> None:
        """A response is done: of earlier tool calls that OpenAI has the output of, nothing comes any more."""
        done = {id_ for id_, call in self.known.items() if call.confirmed and id_ not in but}
        if done:
            self.known = {id_: call for id_, call in self.known.items() if id_ not in done}
            self._asked = {event_id: id_ for event_id, id_ in self._asked.items() if id_ not in done}

    def _settle(self, tool_call_ids: Iterable[str]) -> list[Action]:
        """Ask about each output that may have been sent and was not confirmed; send those that were not sent."""
        actions: list[Action] = []
        for tool_call_id in list(tool_call_ids):
            call = self.known[tool_call_id]
            if call.output is None or call.confirmed:
                continue
            if call.maybe_sent:
                call.asked = 0
                actions.append(self._retrieve(tool_call_id, call))
            else:
                actions += self._answer(tool_call_id, call)
        return actions

    def _answer(self, tool_call_id: str, call: ToolCall) -> list[Action]:
        """Send an output; if it is the last one of its turn, the model may go on."""
        call.tries += 1
        call.maybe_sent = True
        event = self._floor.event("conversation.item.create")
        item = {"type": "function_call_output", "call_id": tool_call_id, "output": call.output}
        event["item"] = {"id": output_item_id(tool_call_id), **item}
        self._asked[event["event_id"]] = tool_call_id
        return [Send(event), *self._close(tool_call_id, news=True)]

    def _retrieve(self, tool_call_id: str, call: ToolCall) -> Send:
        """Ask OpenAI whether it has an output."""
        call.asked += 1
        event = self._floor.event("conversation.item.retrieve")
        event["item_id"] = output_item_id(tool_call_id)
        self._asked[event["event_id"]] = tool_call_id
        return Send(event)

    def _close(self, tool_call_id: str, *, news: bool) -> list[Action]:
        """A tool call is answered."""
        turn = next((turn for turn in self._turns.values() if tool_call_id in turn.open_calls), None)
        if turn is None:
            return []
        turn.open_calls.remove(tool_call_id)
        turn.news = turn.news or news
        return self._go_on(turn)

    def _go_on(self, turn: _Turn) -> list[Action]:
        """Ask the model to go on if all tool calls of this turn are answered."""
        if not turn.complete or turn.open_calls:
            return []
        self._turns = {id_: other for id_, other in self._turns.items() if other is not turn}
        if not turn.news:
            return []
        self._rounds += 1
        return self._floor.respond({"tool_choice": "none"} if self._rounds > MOST_TOOL_ROUNDS else None)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
