"""The conversation core against a model of OpenAI: whatever order events come in, its rules hold.

The model plays the server: it begins responses for us and for voice detection, completes or cuts tool calls, loses
sockets with what was on them, and answers retrievals. Its assertions and invariants hold at every step; in `teardown`,
that every completed call was answered once, that each output was followed by a response that may speak of it, and that
all that was to be said was said once, in order, but for what was thrown away or asked for as a socket was lost.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from supervisor.conversation.actions import Action, RunTool, Send
from supervisor.conversation.realtime.conversation import Conversation
from supervisor.conversation.realtime.tool_calls import output_item_id


class Server(RuleBasedStateMachine):
    """OpenAI's side of one conversation."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Conversation()
        self.active: str | None = None
        self.unanswered_create: dict[str, Any] | None = None
        self.running: list[str] = []
        self.completed: set[str] = set()
        self.outputs: dict[str, int] = {}
        self.refused = 0
        self.begun = 0
        self.calls_of: dict[str, list[str]] = {}
        self.mark_of: dict[str, dict[str, str] | None] = {}
        self.unspoken: set[str] = set()
        """Outputs after which no response has begun that was free to speak of them."""
        self.words = 0
        self.wanted: list[str] = []
        """What is to be said, and is neither begun nor thrown away."""
        self.maybe: set[str] = set()
        """What was asked for as it was thrown away: it may be said, but not later than what follows."""
        self.repeated: set[str | None] = set()
        """What was asked for as its socket was lost: it may be said again."""

    def do(self, actions: Sequence[Action], *, arrives: bool = True) -> None:
        """Take what the core asks for; what does not arrive is lost with its socket."""
        for action in actions:
            if isinstance(action, RunTool):
                assert action.tool_call_id not in self.running, "a tool call was started twice"
                self.running.append(action.tool_call_id)
            elif isinstance(action, Send) and arrives:
                self.receive(action.event)

    def receive(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "response.create":
                assert self.unanswered_create is None, "two requests for a response in flight"
                self.unanswered_create = event
            case "conversation.item.create":
                self.keep(event)
            case "conversation.item.retrieve":
                self.show(event)

    def keep(self, event: dict[str, Any]) -> None:
        item = event["item"]
        assert item["id"] == output_item_id(item["call_id"])
        if self.outputs.get(item["call_id"]):
            self.refused += 1
            self.error("item_create_duplicate_item_id", event["event_id"])
        else:
            self.outputs[item["call_id"]] = 1
            self.unspoken.add(item["call_id"])
            self.do(self.core.receive({"type": "conversation.item.added", "item": item}))

    def show(self, event: dict[str, Any]) -> None:
        found = next((id_ for id_ in self.outputs if output_item_id(id_) == event["item_id"]), None)
        if found is None:
            self.error("item_retrieve_invalid_item_id", event["event_id"])
        else:
            item = {"type": "function_call_output", "call_id": found, "id": event["item_id"]}
            self.do(self.core.receive({"type": "conversation.item.retrieved", "item": item}))

    def error(self, code: str, event_id: str) -> None:
        self.do(self.core.receive({"type": "error", "error": {"code": code, "event_id": event_id}}))

    def begin(self, metadata: dict[str, str] | None, instructions: str | None = None) -> None:
        if instructions is None:
            self.unspoken.clear()
        elif instructions in self.wanted or instructions not in self.repeated:
            place = self.wanted.index(instructions)
            assert self.maybe.issuperset(self.wanted[:place]), "said before what was to be said before"
            del self.wanted[: place + 1]
        self.begun += 1
        self.active = f"resp_{self.begun}"
        self.calls_of[self.active] = []
        self.mark_of[self.active] = metadata
        response = {"id": self.active, "status": "in_progress", "metadata": metadata}
        self.do(self.core.receive({"type": "response.created", "response": response}))

    @rule()
    @precondition(lambda self: self.unanswered_create is not None)
    def the_request_is_answered(self) -> None:
        """Begun, or refused since voice detection was faster."""
        create, self.unanswered_create = self.unanswered_create, None
        assert create is not None
        if self.active is None:
            self.begin(create["response"].get("metadata"), create["response"].get("instructions"))
        else:
            self.error("conversation_already_has_active_response", create["event_id"])

    @rule()
    @precondition(lambda self: self.active is None)
    def voice_detection_begins_a_response(self) -> None:
        self.do(self.core.receive({"type": "input_audio_buffer.speech_started"}))
        self.do(self.core.receive({"type": "input_audio_buffer.speech_stopped"}))
        self.begin(None)

    @rule(cut=st.booleans())
    @precondition(lambda self: self.active is not None)
    def the_model_calls_a_tool(self, *, cut: bool) -> None:
        assert self.active is not None
        tool_call_id = f"call_{len(self.completed)}_{self.begun}_{len(self.calls_of[self.active])}"
        status = "incomplete" if cut else "completed"
        item = {"type": "function_call", "call_id": tool_call_id, "name": "x", "arguments": "{}", "status": status}
        if not cut:
            self.completed.add(tool_call_id)
            self.calls_of[self.active].append(tool_call_id)
        for type_ in ("response.output_item.done", "conversation.item.done"):
            self.do(self.core.receive({"type": type_, "response_id": self.active, "item": item}))

    @rule(status=st.sampled_from(["completed", "cancelled", "incomplete"]))
    @precondition(lambda self: self.active is not None)
    def the_response_ends(self, status: str) -> None:
        assert self.active is not None
        output = [
            {"type": "function_call", "call_id": id_, "name": "x", "arguments": "{}", "status": "completed"}
            for id_ in self.calls_of[self.active]
        ]
        response = {"id": self.active, "status": status, "output": output, "metadata": self.mark_of[self.active]}
        self.active = None
        self.do(self.core.receive({"type": "response.done", "response": response}))

    @rule(data=st.data(), fate=st.sampled_from(["arrives", "is lost", "arrives, and its confirmation is lost"]))
    @precondition(lambda self: bool(self.running))
    def a_tool_finishes(self, data: st.DataObject, fate: str) -> None:
        """Where something is lost, the socket is torn as the output is written; another is attached at once."""
        tool_call_id = data.draw(st.sampled_from(self.running))
        self.running.remove(tool_call_id)
        self.do(self.core.tool_calls.answer(tool_call_id, "done"), arrives=fate == "arrives")
        if fate != "arrives":
            if fate != "is lost":
                self.outputs[tool_call_id] = 1
                self.unspoken.add(tool_call_id)
            self.reattach()

    @rule()
    def the_agent_wants_to_speak(self) -> None:
        self.words += 1
        self.wanted.append(f"Say {self.words}.")
        self.do(self.core.responses.add({"instructions": self.wanted[-1]}))

    @rule()
    def the_agent_interrupts(self) -> None:
        """What is being said ends by a rule of its own, as cancelled or otherwise."""
        asked = (self.unanswered_create or {"response": {}})["response"].get("instructions")
        self.maybe = {asked} if asked else set()
        self.wanted = [words for words in self.wanted if words == asked]
        self.do(self.core.interrupt())

    @rule(begins=st.booleans())
    def the_socket_is_lost(self, *, begins: bool) -> None:
        """What was on its way to OpenAI may have got there, and begun; nobody can know once it has ended."""
        if self.unanswered_create is not None:
            response = self.unanswered_create["response"]
            self.repeated.add(response.get("instructions"))
            if begins and self.active is None:
                core, self.core = self.core, Conversation()
                self.begin(response.get("metadata"), response.get("instructions"))
                self.core = core
        self.reattach()

    def reattach(self) -> None:
        """What was on the way is lost in both directions."""
        self.unanswered_create = None
        self.do(self.core.attached())

    @invariant()
    def no_output_twice(self) -> None:
        assert self.refused == 0, "an output was sent again without asking for it first"

    @invariant()
    def only_completed_calls_are_run(self) -> None:
        assert set(self.running) <= self.completed
        assert set(self.outputs) <= self.completed

    def teardown(self) -> None:
        """Let everything come to rest: then every completed call is answered once, and nothing is left wanted."""
        for tool_call_id in list(self.running):
            self.running.remove(tool_call_id)
            self.do(self.core.tool_calls.answer(tool_call_id, "done"))
        for _ in range(100):
            if self.unanswered_create is not None:
                self.the_request_is_answered()
            if self.active is not None:
                self.the_response_ends("completed")
        assert set(self.outputs) == self.completed
        assert self.unspoken == set(), "nobody has asked the model to speak of an output"
        assert self.maybe.issuperset(self.wanted), "something was never said"
        assert not self.core.busy
        assert self.unanswered_create is None


TestServer = Server.TestCase
TestServer.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
