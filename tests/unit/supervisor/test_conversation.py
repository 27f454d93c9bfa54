"""The conversation core, without a socket: events in, actions out."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.actions import Action, Answered, Expired, RunTool, Said, Send, Used
from supervisor.conversation import Conversation
from supervisor.errors import EventError
from supervisor.floor import MOST_UNANSWERED
from supervisor.toolcalls import OUTPUT_TRIES, ToolCall, output_item_id


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


def done(response_id: str = "resp_1", *output: dict[str, Any], usage: dict[str, Any] | None = None) -> dict[str, Any]:
    response = {"id": response_id, "status": "completed", "output": list(output), "usage": usage}
    return {"type": "response.done", "response": response}


def error(code: str, event_id: str | None = None) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "invalid_request_error", "code": code, "event_id": event_id}}


def sent(actions: list[Action]) -> list[str]:
    return [action.event["type"] for action in actions if isinstance(action, Send)]


def event_of(actions: list[Action], type_: str) -> dict[str, Any]:
    return next(action.event for action in actions if isinstance(action, Send) and action.event["type"] == type_)


class TestResponses:
    """At most one response is asked for at a time."""

    def test_asks_at_once_when_nobody_speaks(self) -> None:
        actions = Conversation().respond({"instructions": "Say hello."})
        create = event_of(actions, "response.create")
        assert create["response"]["instructions"] == "Say hello."

    def test_waits_for_the_active_response(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        assert conversation.respond() == []
        assert sent(conversation.receive(done())) == ["response.create"]

    def test_asks_once_however_often_it_is_wanted(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        conversation.respond()
        conversation.respond({"instructions": "the last one wins"})
        actions = conversation.receive(done())
        assert sent(actions) == ["response.create"]
        assert event_of(actions, "response.create")["response"]["instructions"] == "the last one wins"

    def test_does_not_ask_again_while_a_request_is_in_flight(self) -> None:
        conversation = Conversation()
        conversation.respond()
        assert conversation.respond() == []

    def test_voice_activity_was_faster_so_it_asks_again_afterwards(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.respond({"instructions": "x"}), "response.create")
        conversation.receive(created("resp_vad"))
        assert conversation.receive(error("conversation_already_has_active_response", create["event_id"])) == []
        actions = conversation.receive(done("resp_vad"))
        assert event_of(actions, "response.create")["response"]["instructions"] == "x"

    def test_an_active_response_that_was_never_seen_is_waited_for(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.respond(), "response.create")
        conversation.receive(error("conversation_already_has_active_response", create["event_id"]))
        assert conversation.respond() == []
        assert sent(conversation.receive(done("resp_unseen"))) == ["response.create"]

    def test_a_refused_request_is_forgotten(self) -> None:
        conversation = Conversation()
        create = event_of(conversation.respond(), "response.create")
        conversation.receive(error("invalid_value", create["event_id"]))
        assert sent(conversation.respond()) == ["response.create"]


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
        actions = conversation.tool_finished("call_1", "42")
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
        assert sent(conversation.tool_finished("call_2", "2")) == ["conversation.item.create"]
        assert sent(conversation.tool_finished("call_1", "1")) == ["conversation.item.create", "response.create"]

    def test_a_slow_tool_does_not_hold_up_a_later_turn(self) -> None:
        conversation = Conversation()
        conversation.receive(created())
        conversation.receive(done("resp_1", function_call("slow")))
        conversation.receive(created("resp_2"))
        conversation.receive(done("resp_2", function_call("quick")))
        assert sent(conversation.tool_finished("quick", "q")) == ["conversation.item.create", "response.create"]

    def test_a_second_result_for_the_same_call_is_dropped(self) -> None:
        conversation = Conversation()
        conversation.receive(done("resp_1", function_call()))
        conversation.tool_finished("call_1", "first")
        assert conversation.tool_finished("call_1", "second") == []
        assert conversation.tool_finished("call_unknown", "x") == []

    def test_an_output_is_confirmed_when_openai_shows_it(self) -> None:
        conversation = Conversation()
        conversation.receive(done("resp_1", function_call()))
        conversation.tool_finished("call_1", "42")
        shown = {"type": "conversation.item.added", "item": {"type": "function_call_output", "call_id": "call_1"}}
        assert conversation.receive(shown) == [Answered("call_1")]
        assert conversation.receive(shown) == []


class TestReattach:
    """After a lost socket nothing is replayed, so what is unknown is asked for."""

    def answered(self) -> Conversation:
        conversation = Conversation()
        conversation.receive(done("resp_1", function_call()))
        conversation.tool_finished("call_1", "42")
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
        conversation.tool_finished("call_1", "42")
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
        assert conversation.receive(caller) == [Said("item_1", "caller", "Hello?", 0)]
        assert conversation.receive(agent) == [Said("item_2", "agent", "Good morning.", 0)]

    def test_usage_is_passed_on(self) -> None:
        usage = {"total_tokens": 3}
        assert Conversation().receive(done("resp_1", usage=usage)) == [Used("resp_1", usage)]

    def test_the_sixty_minutes_are_over(self) -> None:
        assert Conversation().receive(error("session_expired")) == [Expired()]

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


class TestNothingComesBack:
    """What is asked of OpenAI may be refused in an error that does not say so, or not at all."""

    def test_a_response_of_which_nothing_is_heard_is_asked_for_again_a_few_times(self) -> None:
        conversation = Conversation()
        asked = [event_of(conversation.respond({"instructions": "Hello."}), "response.create")]
        conversation.receive(error("server_error"))
        while actions := conversation.unanswered():
            asked.append(event_of(actions, "response.create"))
            assert conversation.waiting_for == asked[-1]["event_id"]
            assert len(asked) < 10
        assert len(asked) == MOST_UNANSWERED
        assert {create["response"]["instructions"] for create in asked} == {"Hello."}
        assert not conversation.busy

    def test_it_is_not_asked_for_again_when_another_response_has_begun_since(self) -> None:
        conversation = Conversation()
        conversation.respond()
        conversation.receive(created("resp_of_voice_detection"))
        conversation.receive(done("resp_of_voice_detection"))
        assert conversation.unanswered() == []
        assert sent(conversation.respond()) == ["response.create"]

    def test_what_waits_is_asked_for_when_what_was_asked_for_is_refused(self) -> None:
        conversation = Conversation()
        first = event_of(conversation.respond({"instructions": "A"}), "response.create")
        conversation.respond({"instructions": "B"})
        actions = conversation.receive(error("unknown_parameter", first["event_id"]))
        assert event_of(actions, "response.create")["response"]["instructions"] == "B"

    def test_a_question_that_is_refused_in_any_other_way_is_put_a_few_times_and_then_answered_by_sending(self) -> None:
        conversation = Conversation()
        conversation.restore({"call_1": ToolCall("look", "{}", output="42", maybe_sent=True)})
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
        actions = conversation.learned(left)
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
            output = event_of(conversation.tool_finished(tool_call_id, "42"), "conversation.item.create")["item"]
            conversation.receive({"type": "conversation.item.added", "item": output})
            again = conversation.receive(done("resp_1", function_call(tool_call_id)))
            assert not [action for action in again if isinstance(action, RunTool)], "its own response shows it twice"
            conversation.receive(created("resp_2", mark=conversation.waiting_for))
            conversation.receive(done("resp_2"))
        assert conversation.tool_calls == {}
