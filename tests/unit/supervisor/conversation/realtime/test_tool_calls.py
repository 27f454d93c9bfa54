"""Tool calls: each is run once and answered once, whatever is lost."""

from collections.abc import Sequence

import pytest

from supervisor.conversation.actions import Action, Answered, RunTool, Send
from supervisor.conversation.realtime.conversation import Conversation
from supervisor.conversation.realtime.tool_calls import OUTPUT_TRIES, ToolCall, output_item_id
from tests.support.openai_events import created, done, error, event_of, function_call, item_done, sent, spoken


class TestToolCalls:
    """Every completed tool call is run once and answered once; then the model is asked to go on, once."""

    def test_runs_as_soon_as_the_item_is_complete(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        assert conversation.receive(item_done(function_call())) == [RunTool("call_1", "look", "{}")]

    def test_runs_once_however_many_events_show_it(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(item_done(function_call()))
        assert conversation.receive(item_done(function_call())) == []
        assert conversation.receive(done("resp_1", function_call())) == []

    @pytest.mark.parametrize("status", ["incomplete", "in_progress", None])
    def test_a_call_that_was_cut_is_not_run(self, status: str) -> None:
        conversation = Conversation()
        assert conversation.receive(item_done(function_call(status=status, arguments='{"a'))) == []

    def test_the_output_goes_at_once_and_the_continuation_waits_for_the_response(self) -> None:
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

    def test_several_calls_are_all_answered_before_the_one_continuation(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(item_done(function_call("call_1")))
        conversation.receive(item_done(function_call("call_2")))
        conversation.receive(done("resp_1", function_call("call_1"), function_call("call_2")))
        assert sent(conversation.tool_calls.answer("call_2", "2")) == ["conversation.item.create"]
        assert sent(conversation.tool_calls.answer("call_1", "1")) == ["conversation.item.create", "response.create"]

    def test_a_slow_tool_does_not_hold_up_a_later_turn(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(done("resp_1", function_call("slow")))
        conversation.receive(created("resp_2"))
        conversation.receive(done("resp_2", function_call("quick")))
        assert sent(conversation.tool_calls.answer("quick", "q")) == ["conversation.item.create", "response.create"]

    def test_a_second_result_for_the_same_call_is_dropped(self) -> None:
        conversation = Conversation()
        conversation.receive(done("resp_1", function_call()))
        conversation.tool_calls.answer("call_1", "first")
        assert conversation.tool_calls.answer("call_1", "second") == []
        assert conversation.tool_calls.answer("call_unknown", "x") == []

    def test_an_output_is_confirmed_when_openai_shows_it(self) -> None:
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

    def test_a_tool_that_says_something_and_returns_at_once_is_heard_and_answered(self) -> None:
        conversation = self.called()
        conversation.responses.add({"instructions": "One moment."})
        conversation.tool_calls.answer("call_1", "12 euro")
        assert spoken(conversation, conversation.receive(done("resp_1", function_call()))) == ["One moment.", None]

    def test_an_interruption_throws_away_words_and_no_answer(self) -> None:
        conversation = self.called()
        conversation.responses.add({"instructions": "One moment."})
        conversation.tool_calls.answer("call_1", "12 euro")
        assert sent(conversation.interrupt()) == ["response.cancel", "output_audio_buffer.clear"]
        assert spoken(conversation, conversation.receive(done("resp_1", function_call()))) == [None]

    def test_a_response_of_voice_detection_that_has_seen_the_output_will_do(self) -> None:
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

    def test_a_response_of_voice_detection_that_began_before_the_output_will_not_do(self) -> None:
        conversation = self.called()
        conversation.receive(done("resp_1", function_call()))
        actions = conversation.tool_calls.answer("call_1", "12 euro")
        create = event_of(actions, "response.create")
        conversation.receive(created("resp_vad"))
        self.shown(conversation)
        conversation.receive(error("conversation_already_has_active_response", create["event_id"]))
        assert spoken(conversation, conversation.receive(done("resp_vad"))) == [None]

    def test_a_response_that_began_as_its_socket_was_lost_has_not_seen_what_came_after_it(self) -> None:
        conversation = Conversation()
        conversation.receive(done("resp_1", function_call("call_1")))
        conversation.receive(done("resp_2", function_call("call_2")))
        lost = event_of(conversation.tool_calls.answer("call_1", "12 euro"), "response.create")
        again = event_of(conversation.attached(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", again["event_id"]))
        conversation.tool_calls.answer("call_2", "9 to 5")
        assert spoken(conversation, conversation.receive(done("resp_3", mark=lost["event_id"]))) == [None]

    def test_what_is_to_be_said_after_a_hosted_tool_does_not_replace_its_result(self) -> None:
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

    def test_asks_for_outputs_that_were_not_confirmed(self) -> None:
        actions = self.answered().attached()
        assert event_of(actions, "conversation.item.retrieve")["item_id"] == output_item_id("call_1")

    def test_sends_an_output_again_only_when_openai_does_not_have_it(self) -> None:
        conversation = self.answered()
        retrieve = event_of(conversation.attached(), "conversation.item.retrieve")
        actions = conversation.receive(error("item_retrieve_invalid_item_id", retrieve["event_id"]))
        assert sent(actions) == ["conversation.item.create"]

    def test_does_not_send_an_output_that_arrived(self) -> None:
        conversation = self.answered()
        conversation.attached()
        item = {"type": "function_call_output", "call_id": "call_1", "id": output_item_id("call_1")}
        assert conversation.receive({"type": "conversation.item.retrieved", "item": item}) == [Answered("call_1")]
        assert sent(conversation.attached()).count("conversation.item.retrieve") == 0

    def test_an_output_that_is_always_refused_is_given_up(self) -> None:
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

    def test_a_response_whose_end_was_missed_does_not_block_the_next(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(item_done(function_call()))
        conversation.tool_calls.answer("call_1", "42")
        assert "response.create" in sent(conversation.attached())

    def test_a_question_that_is_refused_in_any_other_way_is_put_a_few_times_and_then_answered_by_sending(self) -> None:
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

    def test_what_an_earlier_owner_left_may_come_to_light_late(self) -> None:
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

    def test_a_tool_call_that_openai_has_the_output_of_is_forgotten_with_the_next_response(self) -> None:
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
