"""The conversation core, without a socket: events in, actions out."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.conversation.actions import Action, Answered, ResponseBilled, RunTool, Send, SessionExpired, Transcribed
from supervisor.conversation.realtime.conversation import Conversation
from supervisor.conversation.realtime.responses import MOST_QUEUED, MOST_REQUESTS
from supervisor.conversation.realtime.tool_calls import OUTPUT_TRIES, ToolCall, output_item_id
from supervisor.errors import EventError


def created(response_id: str = "resp_1", mark: str | None = None) -> dict[str, Any]:
    metadata = {"sideband": mark} if mark else None
    return {"type": "response.created", "response": {"id": response_id, "status": "in_progress", "metadata": metadata}}


def function_call(tool_call_id: str = "call_1", *, status: str = "completed", arguments: str = "{}") -> dict[str, Any]:
    return {
        "type": "function_call",
        "call_id": tool_call_id,
        "name": "look",
        "arguments": arguments,
        "status": status,
    }


def item_done(item: dict[str, Any], response_id: str = "resp_1") -> dict[str, Any]:
    return {"type": "response.output_item.done", "response_id": response_id, "item": item}


def done(
    response_id: str = "resp_1", *output: dict[str, Any], usage: dict[str, Any] | None = None, mark: str | None = None
) -> dict[str, Any]:
    response = {"id": response_id, "status": "completed", "output": list(output), "usage": usage}
    return {"type": "response.done", "response": {**response, "metadata": {"sideband": mark} if mark else None}}


def error(code: str, event_id: str | None = None) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "invalid_request_error", "code": code, "event_id": event_id}}


def sent(actions: list[Action]) -> list[str]:
    return [action.event["type"] for action in actions if isinstance(action, Send)]


def event_of(actions: list[Action], type_: str) -> dict[str, Any]:
    return next(action.event for action in actions if isinstance(action, Send) and action.event["type"] == type_)


def spoken(conversation: Conversation, actions: list[Action]) -> list[str | None]:
    """Let each response that is asked for begin and end, until none is; returns their instructions."""
    instructions = []
    while "response.create" in sent(actions):
        create = event_of(actions, "response.create")
        instructions.append(create["response"].get("instructions"))
        conversation.receive(created("resp_ours", mark=create["event_id"]))
        actions = conversation.receive(done("resp_ours", mark=create["event_id"]))
    return instructions


class TestResponses:
    """At most one response is asked for at a time."""

    def test_asks_at_once_when_nobody_speaks(self) -> None:
        actions = Conversation().responses.add({"instructions": "Say hello."})
        create = event_of(actions, "response.create")
        assert create["response"]["instructions"] == "Say hello."

    def test_waits_for_the_active_response(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        assert conversation.responses.add() == []
        assert sent(conversation.receive(done())) == ["response.create"]

    def test_to_go_on_is_asked_once_however_often_it_is_wanted(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        conversation.responses.add()
        conversation.responses.add()
        assert sent(conversation.receive(done())) == ["response.create"]
        assert conversation.receive(created("resp_2", mark=conversation.responses.requested)) == []
        assert conversation.receive(done("resp_2")) == []

    def test_all_that_is_to_be_said_is_said_in_order(self) -> None:
        conversation = Conversation()
        actions = conversation.responses.add({"instructions": "ONE"})
        for text in ("TWO", "THREE"):
            assert conversation.responses.add({"instructions": text}) == []
        assert spoken(conversation, actions) == ["ONE", "TWO", "THREE"]

    def test_of_a_thousand_things_to_say_only_the_first_few_wait(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        for number in range(1000):
            conversation.responses.add({"instructions": str(number)})
        assert conversation.responses.full
        conversation.responses.add()
        assert spoken(conversation, conversation.receive(done())) == [*map(str, range(MOST_QUEUED)), None]

    def test_what_was_to_be_said_is_thrown_away_by_an_interruption(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.responses.add({"instructions": "ONE"}), "response.create")
        conversation.responses.add({"instructions": "TWO"})
        conversation.interrupt()
        conversation.receive(created("resp_vad"))
        conversation.receive(error("conversation_already_has_active_response", create["event_id"]))
        assert conversation.receive(done("resp_vad")) == []
        assert not conversation.busy

    def test_what_was_asked_for_as_the_socket_was_lost_is_not_asked_for_again_when_it_had_begun(self) -> None:
        conversation = Conversation()
        lost = event_of(conversation.responses.add({"instructions": "ONE"}), "response.create")
        again = event_of(conversation.attached(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", again["event_id"]))
        assert conversation.receive(done("resp_1", mark=lost["event_id"])) == []

    def test_what_was_asked_for_as_the_socket_was_lost_is_asked_for_again_when_another_had_begun(self) -> None:
        conversation = Conversation()
        conversation.responses.add({"instructions": "ONE"})
        again = event_of(conversation.attached(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", again["event_id"]))
        assert spoken(conversation, conversation.receive(done("resp_vad"))) == ["ONE"]

    def test_does_not_ask_again_while_a_request_is_in_flight(self) -> None:
        conversation = Conversation()
        conversation.responses.add()
        assert conversation.responses.add() == []

    def test_voice_activity_was_faster_so_it_asks_again_afterwards(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.responses.add({"instructions": "x"}), "response.create")
        conversation.receive(created("resp_vad"))
        assert conversation.receive(error("conversation_already_has_active_response", create["event_id"])) == []
        actions = conversation.receive(done("resp_vad"))
        assert event_of(actions, "response.create")["response"]["instructions"] == "x"

    def test_an_active_response_that_was_never_seen_is_waited_for(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.responses.add(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", create["event_id"]))
        assert conversation.responses.add() == []
        assert sent(conversation.receive(done("resp_unseen"))) == ["response.create"]

    def test_a_refused_request_is_forgotten(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.responses.add(), "response.create")
        conversation.receive(error("invalid_value", create["event_id"]))
        assert sent(conversation.responses.add()) == ["response.create"]


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
        tries, actions = 1, conversation.attached()
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


class TestOtherEvents:
    """The transcript, the bill and the end."""

    def test_both_sides_are_heard(self) -> None:
        conversation = Conversation()
        caller = {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_1",
            "transcript": "Hello?",
        }
        agent = {"type": "response.output_audio_transcript.done", "item_id": "item_2", "transcript": "Good morning."}
        assert conversation.receive(caller) == [Transcribed("item_1", "caller", "Hello?", 0)]
        assert conversation.receive(agent) == [Transcribed("item_2", "agent", "Good morning.", 0)]

    def test_usage_is_passed_on(self) -> None:
        usage = {"total_tokens": 3}
        assert Conversation().receive(done("resp_1", usage=usage)) == [ResponseBilled("resp_1", usage)]

    def test_the_sixty_minutes_are_over(self) -> None:
        assert Conversation().receive(error("session_expired")) == [SessionExpired()]

    @pytest.mark.parametrize("item_id", [None, "", 2**63 + 1, 1.5, True, ["item_1"], {"id": "item_1"}])
    @pytest.mark.parametrize(
        "type_",
        [
            "conversation.item.input_audio_transcription.completed",
            "conversation.item.input_audio_transcription.failed",
            "response.output_audio_transcript.done",
            "response.output_text.done",
        ],
    )
    def test_words_under_an_id_that_is_none_are_left_out(self, type_: str, item_id: Any) -> None:
        with pytest.raises(EventError):
            Conversation().receive({"type": type_, "item_id": item_id, "transcript": "Hello?", "text": "Hello?"})

    @pytest.mark.parametrize("text", [5, ["Hello?"], {"text": "Hello?"}])
    def test_words_that_are_not_text_are_left_out(self, text: Any) -> None:
        with pytest.raises(EventError):
            Conversation().receive({"type": "response.output_text.done", "item_id": "item_1", "text": text})

    @pytest.mark.parametrize("tool_call_id", ["", 2**63 + 1, ["call_1"], None])
    def test_a_tool_call_under_an_id_that_is_none_is_left_out_and_the_response_ends_all_the_same(
        self, tool_call_id: Any
    ) -> None:
        conversation = Conversation()
        conversation.receive(created())
        odd = {**function_call(), "call_id": tool_call_id}
        with pytest.raises(EventError):
            conversation.receive(item_done(odd))
        assert conversation.receive(done("resp_1", odd, function_call())) == [RunTool("call_1", "look", "{}")]
        conversation.tool_calls.answer("call_1", "42")
        assert conversation.responses.requested

    @pytest.mark.parametrize("odd", [None, "", 5, ["resp_1"]])
    def test_a_response_under_an_id_that_is_none_still_has_the_floor_and_leaves_it(self, odd: Any) -> None:
        conversation = Conversation()
        conversation.receive(created(odd))
        assert conversation.responses.add() == []
        assert sent(conversation.receive(done(odd))) == ["response.create"]

    @given(
        st.dictionaries(
            st.sampled_from(["type", "response", "item", "error", "item_id", "transcript", "response_id"]),
            st.sampled_from(["response.done", "error", "response.created", "conversation.item.done", "no.such.event"])
            | st.none()
            | st.dictionaries(
                st.sampled_from(["id", "output", "usage", "type", "call_id", "code", "event_id", "status", "metadata"]),
                st.none() | st.just("function_call") | st.just("completed"),
            ),
        )
    )
    def test_no_event_from_outside_breaks_it(self, event: dict[str, Any]) -> None:
        """Whatever its shape, it is taken, left out, or refused with the one error that says so."""
        conversation = Conversation()
        with suppress(EventError):
            conversation.receive(event)
        assert sent(conversation.attached()) == []


class TestTheCallerIsThere:
    """Voice detection may be off: then the caller is heard by what is committed, or typed."""

    @pytest.mark.parametrize(
        "event",
        [
            {"type": "input_audio_buffer.committed", "item_id": "item_1"},
            {"type": "conversation.item.added", "item": {"id": "item_1", "type": "message", "role": "user"}},
            {"type": "input_audio_buffer.speech_started", "item_id": "item_1"},
            {"type": "input_audio_buffer.dtmf_event_received", "event": "1"},
        ],
    )
    def test_the_caller_is_heard(self, event: dict[str, Any]) -> None:
        conversation = Conversation()
        assert conversation.reads(event["type"])
        conversation.receive(event)
        assert conversation.caller_heard

    def test_silence_that_is_committed_by_a_time_out_is_not_the_caller(self) -> None:
        conversation = Conversation()
        conversation.receive({"type": "input_audio_buffer.timeout_triggered", "item_id": "item_1"})
        conversation.receive({"type": "input_audio_buffer.committed", "item_id": "item_1"})
        user: dict[str, Any] = {"id": "item_1", "type": "message", "role": "user"}
        conversation.receive({"type": "conversation.item.added", "item": user})
        assert not conversation.caller_heard

    def test_what_the_model_says_is_not_the_caller(self) -> None:
        conversation = Conversation()
        item = {"id": "item_1", "type": "message", "role": "assistant"}
        conversation.receive({"type": "conversation.item.added", "item": item})
        assert not conversation.caller_heard


class TestNothingComesBack:
    """What is asked of OpenAI may be refused in an error that does not say so, or not at all."""

    def test_a_response_of_which_nothing_is_heard_is_asked_for_again_a_few_times(self) -> None:
        conversation = Conversation()
        asked = [event_of(conversation.responses.add({"instructions": "Hello."}), "response.create")]
        conversation.receive(error("server_error"))
        while actions := conversation.responses.retry():
            asked.append(event_of(actions, "response.create"))
            assert conversation.responses.requested == asked[-1]["event_id"]
            assert len(asked) < 10
        assert len(asked) == MOST_REQUESTS
        assert {create["response"]["instructions"] for create in asked} == {"Hello."}
        assert not conversation.busy

    def test_it_is_not_asked_for_again_when_another_response_has_begun_since(self) -> None:
        conversation = Conversation()
        conversation.responses.add()
        conversation.receive(created("resp_of_voice_detection"))
        conversation.receive(done("resp_of_voice_detection"))
        assert conversation.responses.retry() == []
        assert sent(conversation.responses.add()) == ["response.create"]

    def test_what_waits_is_asked_for_when_what_was_asked_for_is_refused(self) -> None:
        conversation = Conversation()
        first = event_of(conversation.responses.add({"instructions": "A"}), "response.create")
        conversation.responses.add({"instructions": "B"})
        actions = conversation.receive(error("unknown_parameter", first["event_id"]))
        assert event_of(actions, "response.create")["response"]["instructions"] == "B"

    def test_a_question_that_is_refused_in_any_other_way_is_put_a_few_times_and_then_answered_by_sending(self) -> None:
        conversation = Conversation()
        conversation.tool_calls.restore({"call_1": ToolCall("look", "{}", output="42", maybe_sent=True)})
        actions, types = conversation.attached(), list[str]()
        while sends := [action.event for action in actions if isinstance(action, Send)]:
            types += [event["type"] for event in sends]
            assert len(types) < 100
            actions = conversation.receive(error("rate_limit_exceeded", sends[0]["event_id"]))
        asked, told = types.count("conversation.item.retrieve"), types.count("conversation.item.create")
        assert (asked, told) == (OUTPUT_TRIES, OUTPUT_TRIES)

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
