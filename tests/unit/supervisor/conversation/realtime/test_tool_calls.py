"""Tool calls: each is run once and answered once, whatever is lost."""

from collections.abc import Sequence

import pytest

from supervisor.conversation.actions import Action, Answered, RunTool, Send
from supervisor.conversation.realtime.conversation import Conversation
from supervisor.conversation.realtime.tool_calls import OUTPUT_TRIES, ToolCall, output_item_id
from tests.support.openai_events import created, done, error, event_of, function_call, item_done, sent, spoken


class TestToolCalls:
    """Every completed tool call is run once and answered once; then the model is asked to go on, once."""

    def test_runs_when_its_item_is_complete(self) -> None:
        """A tool runs as soon as its item is complete, and not at the end of the response."""
        conversation = Conversation()
        conversation.receive(created())
        assert conversation.receive(item_done(function_call())) == [RunTool("call_1", "look", "{}")]

    def test_runs_once(self) -> None:
        """A tool call runs once, however many events show it."""
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(item_done(function_call()))
        assert conversation.receive(item_done(function_call())) == []
        assert conversation.receive(done("resp_1", function_call())) == []

    @pytest.mark.parametrize("status", ["incomplete", "in_progress", None])
    def test_a_call_that_was_cut_is_not_run(self, status: str) -> None:
        """A tool call that was cut short is not run."""
        conversation = Conversation()
        assert conversation.receive(item_done(function_call(status=status, arguments='{"a'))) == []

    def test_output_first_continuation_later(self) -> None:
        """An output leaves at once; the model is asked to go on when its response has ended."""
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(item_done(function_call()))
        actions = conversation.tool_calls.answer("call_1", "42")
        item = event_of(actions, "conversation.item.create")["item"]
        assert item == {
            "id": output_item_id("call_1"),
            "type": "function_call_output",
            "call_id": "call_1",
            "output": "42",
        }
        assert sent(actions) == ["conversation.item.create"]
        assert sent(conversation.receive(done("resp_1", function_call()))) == ["response.create"]

    def test_one_continuation_for_all(self) -> None:
        """Several calls of a response are all answered before the model is asked, once, to go on."""
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(item_done(function_call("call_1")))
        conversation.receive(item_done(function_call("call_2")))
        conversation.receive(done("resp_1", function_call("call_1"), function_call("call_2")))
        assert sent(conversation.tool_calls.answer("call_2", "2")) == ["conversation.item.create"]
        assert sent(conversation.tool_calls.answer("call_1", "1")) == ["conversation.item.create", "response.create"]

    def test_a_slow_tool_holds_up_no_turn(self) -> None:
        """A slow tool of an earlier turn does not hold up the answer of a later one."""
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(done("resp_1", function_call("slow")))
        conversation.receive(created("resp_2"))
        conversation.receive(done("resp_2", function_call("quick")))
        assert sent(conversation.tool_calls.answer("quick", "q")) == ["conversation.item.create", "response.create"]

    def test_a_second_result_is_dropped(self) -> None:
        """A second result of the same call, and one of an unknown call, is dropped."""
        conversation = Conversation()
        conversation.receive(done("resp_1", function_call()))
        conversation.tool_calls.answer("call_1", "first")
        assert conversation.tool_calls.answer("call_1", "second") == []
        assert conversation.tool_calls.answer("call_unknown", "x") == []

    def test_an_output_is_confirmed(self) -> None:
        """An output is confirmed, once, when OpenAI shows it."""
        conversation = Conversation()
        conversation.receive(done("resp_1", function_call()))
        conversation.tool_calls.answer("call_1", "42")
        shown = {"type": "conversation.item.added", "item": {"type": "function_call_output", "call_id": "call_1"}}
        assert conversation.receive(shown) == [Answered("call_1")]
        assert conversation.receive(shown) == []


class TestSayingAndAnswering:
    """What is said word for word answers no tool call: the model still has to speak of the output."""

    def called(self) -> Conversation:
        """The model has called a tool, and goes on speaking."""
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(item_done(function_call()))
        return conversation

    def shown(self, conversation: Conversation) -> None:
        item = {"type": "function_call_output", "call_id": "call_1", "id": output_item_id("call_1")}
        conversation.receive({"type": "conversation.item.added", "item": item})

    def test_a_tool_says_and_returns(self) -> None:
        """What a tool has said is said before the model speaks of its output."""
        conversation = self.called()
        conversation.responses.add({"instructions": "One moment."})
        conversation.tool_calls.answer("call_1", "12 euro")
        assert spoken(conversation, conversation.receive(done("resp_1", function_call()))) == ["One moment.", None]

    def test_an_interruption_keeps_answers(self) -> None:
        """An interruption throws away words that wait, and no answer to a tool call."""
        conversation = self.called()
        conversation.responses.add({"instructions": "One moment."})
        conversation.tool_calls.answer("call_1", "12 euro")
        assert sent(conversation.interrupt()) == ["response.cancel", "output_audio_buffer.clear"]
        assert spoken(conversation, conversation.receive(done("resp_1", function_call()))) == [None]

    def test_another_response_saw_the_output(self) -> None:
        """A response of voice detection that began after the output speaks of it; no other is requested."""
        conversation = self.called()
        conversation.responses.add({"instructions": "One moment."})
        conversation.tool_calls.answer("call_1", "12 euro")
        conversation.receive(done("resp_1", function_call()))
        conversation.receive(created("resp_say", mark=conversation.responses.requested))
        self.shown(conversation)
        conversation.receive({"type": "input_audio_buffer.speech_started"})
        conversation.receive({"type": "input_audio_buffer.speech_stopped"})
        conversation.receive(done("resp_say"))
        assert sent(conversation.break_silence()) == []
        create = conversation.responses.requested
        assert create
        conversation.receive(created("resp_vad"))
        conversation.receive(error("conversation_already_has_active_response", create))
        assert conversation.receive(done("resp_vad")) == []
        assert not conversation.busy

    def test_another_response_was_too_early(self) -> None:
        """A response of voice detection that began before the output is followed by another."""
        conversation = self.called()
        conversation.receive(done("resp_1", function_call()))
        actions = conversation.tool_calls.answer("call_1", "12 euro")
        create = event_of(actions, "response.create")
        conversation.receive(created("resp_vad"))
        self.shown(conversation)
        conversation.receive(error("conversation_already_has_active_response", create["event_id"]))
        assert spoken(conversation, conversation.receive(done("resp_vad"))) == [None]

    def test_a_lost_response_was_too_early(self) -> None:
        """A response that began as its socket was lost knows no output that was sent afterwards."""
        conversation = Conversation()
        conversation.receive(done("resp_1", function_call("call_1")))
        conversation.receive(done("resp_2", function_call("call_2")))
        lost = event_of(conversation.tool_calls.answer("call_1", "12 euro"), "response.create")
        again = event_of(conversation.attached(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", again["event_id"]))
        conversation.tool_calls.answer("call_2", "9 to 5")
        assert spoken(conversation, conversation.receive(done("resp_3", mark=lost["event_id"]))) == [None]

    def test_words_and_a_hosted_tool(self) -> None:
        """A text said after a hosted tool does not replace the response about the tool's result."""
        conversation = Conversation()
        conversation.receive(created())
        conversation.responses.add({"instructions": "One moment."})
        hosted = {"type": "mcp_call", "id": "mcp_1", "name": "stock", "output": "3"}
        assert spoken(conversation, conversation.receive(done("resp_1", hosted))) == ["One moment.", None]


class TestReattach:
    """After a lost socket nothing is replayed, so what is unknown is asked for."""

    def answered(self) -> Conversation:
        conversation = Conversation()
        conversation.receive(done("resp_1", function_call()))
        conversation.tool_calls.answer("call_1", "42")
        return conversation

    def test_asks_for_unconfirmed_outputs(self) -> None:
        """After an attach OpenAI is asked for each output that was not confirmed."""
        actions = self.answered().attached()
        assert event_of(actions, "conversation.item.retrieve")["item_id"] == output_item_id("call_1")

    def test_sends_a_missing_output_again(self) -> None:
        """An output that OpenAI does not have is sent again."""
        conversation = self.answered()
        retrieve = event_of(conversation.attached(), "conversation.item.retrieve")
        actions = conversation.receive(error("item_retrieve_invalid_item_id", retrieve["event_id"]))
        assert sent(actions) == ["conversation.item.create"]

    def test_keeps_an_output_that_arrived(self) -> None:
        """An output that OpenAI has is confirmed, and not sent again."""
        conversation = self.answered()
        conversation.attached()
        item = {"type": "function_call_output", "call_id": "call_1", "id": output_item_id("call_1")}
        assert conversation.receive({"type": "conversation.item.retrieved", "item": item}) == [Answered("call_1")]
        assert sent(conversation.attached()).count("conversation.item.retrieve") == 0

    def test_a_refused_output_is_given_up(self) -> None:
        """An output that is refused each time is given up after a few tries."""
        conversation = self.answered()
        actions: Sequence[Action] = conversation.attached()
        tries = 1
        while "conversation.item.retrieve" in sent(actions):
            retrieve = event_of(actions, "conversation.item.retrieve")
            actions = conversation.receive(error("item_retrieve_invalid_item_id", retrieve["event_id"]))
            if "conversation.item.create" not in sent(actions):
                break
            tries += 1
            create = event_of(actions, "conversation.item.create")
            actions = conversation.receive(error("invalid_value", create["event_id"]))
        assert tries == OUTPUT_TRIES

    def test_a_missed_end_blocks_nothing(self) -> None:
        """A response whose end was missed does not hold up the next one."""
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(item_done(function_call()))
        conversation.tool_calls.answer("call_1", "42")
        assert "response.create" in sent(conversation.attached())

    def test_a_refused_lookup_is_bounded(self) -> None:
        """A look-up that is refused for another reason is repeated a few times; then the output is sent."""
        conversation = Conversation()
        conversation.tool_calls.restore({"call_1": ToolCall("look", "{}", output="42", maybe_sent=True)})
        actions: Sequence[Action] = conversation.attached()
        types = list[str]()
        while sends := [action.event for action in actions if isinstance(action, Send)]:
            types += [event["type"] for event in sends]
            assert len(types) < 100
            actions = conversation.receive(error("rate_limit_exceeded", sends[0]["event_id"]))
        lookups, outputs = types.count("conversation.item.retrieve"), types.count("conversation.item.create")
        assert (lookups, outputs) == (OUTPUT_TRIES, OUTPUT_TRIES)

    def test_restore_late(self) -> None:
        """What an earlier owner left is answered or looked up, also when the record is opened late; nothing is run."""
        conversation = Conversation()
        conversation.attached()
        left = {
            "ours": ToolCall("look", "{}"),
            "unknown": ToolCall("pay", "{}", output="The outcome is unknown."),
            "sent": ToolCall("look", "{}", output="42", maybe_sent=True),
        }
        conversation.receive(item_done(function_call("ours")))
        actions = conversation.tool_calls.restore_late(left)
        assert sent(actions) == ["conversation.item.create", "conversation.item.retrieve"]
        assert [action for action in actions if isinstance(action, RunTool)] == []


class TestForgetting:
    """A call may last an hour: what is settled is not remembered."""

    def test_confirmed_calls_are_forgotten(self) -> None:
        """A tool call is forgotten once its output is confirmed and the next response has begun."""
        conversation = Conversation()
        for number in range(50):
            tool_call_id = f"call_{number}"
            conversation.receive(created("resp_1"))
            conversation.receive(item_done(function_call(tool_call_id)))
            output = event_of(conversation.tool_calls.answer(tool_call_id, "42"), "conversation.item.create")["item"]
            conversation.receive({"type": "conversation.item.added", "item": output})
            again = conversation.receive(done("resp_1", function_call(tool_call_id)))
            assert not [action for action in again if isinstance(action, RunTool)], "its own response shows it twice"
            conversation.receive(created("resp_2", mark=conversation.responses.requested))
            conversation.receive(done("resp_2"))
        assert conversation.tool_calls.by_id == {}
