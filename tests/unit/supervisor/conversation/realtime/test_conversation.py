"""The conversation: what events report, and what is read of odd ones."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.conversation.actions import ResponseBilled, RunTool, SessionExpired, Transcribed
from supervisor.conversation.realtime.conversation import Conversation
from supervisor.errors import EventError
from tests.support.openai_events import created, done, error, function_call, item_done, sent


class TestOtherEvents:
    """The transcript, the bill and the end."""

    def test_both_sides_are_heard(self) -> None:
        """What either side said is reported as a piece of the transcript."""
        conversation = Conversation()
        caller = {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_1",
            "transcript": "Hello?",
        }
        agent = {"type": "response.output_audio_transcript.done", "item_id": "item_2", "transcript": "Good morning."}
        assert conversation.receive(caller) == [Transcribed("item_1", "caller", "Hello?", 0)]
        assert conversation.receive(agent) == [Transcribed("item_2", "agent", "Good morning.", 0)]

    def test_usage_is_reported(self) -> None:
        """The usage of a response is reported as it comes."""
        usage = {"total_tokens": 3}
        assert Conversation().receive(done("resp_1", usage=usage)) == [ResponseBilled("resp_1", usage)]

    def test_session_expired(self) -> None:
        """OpenAI's limit of 60 minutes is reported."""
        assert Conversation().receive(error("session_expired")) == [SessionExpired()]

    @pytest.mark.parametrize("item_id", [None, "", 2**63 + 1, 1.5, True, ["item_1"], {"id": "item_1"}], ids=str)
    @pytest.mark.parametrize(
        "type_",
        [
            "conversation.item.input_audio_transcription.completed",
            "conversation.item.input_audio_transcription.failed",
            "response.output_audio_transcript.done",
            "response.output_text.done",
        ],
    )
    def test_words_under_an_odd_id(self, type_: str, item_id: Any) -> None:
        """Words under something that is no item id are left out."""
        with pytest.raises(EventError):
            Conversation().receive({"type": type_, "item_id": item_id, "transcript": "Hello?", "text": "Hello?"})

    @pytest.mark.parametrize("text", [5, ["Hello?"], {"text": "Hello?"}], ids=str)
    def test_words_that_are_not_text(self, text: Any) -> None:
        """Words that are not text are left out."""
        with pytest.raises(EventError):
            Conversation().receive({"type": "response.output_text.done", "item_id": "item_1", "text": text})

    @pytest.mark.parametrize("tool_call_id", ["", 2**63 + 1, ["call_1"], None], ids=str)
    def test_a_tool_call_under_an_odd_id(self, tool_call_id: Any) -> None:
        """A tool call under something that is no id is left out, and its response ends all the same."""
        conversation = Conversation()
        conversation.receive(created())
        odd = {**function_call(), "call_id": tool_call_id}
        with pytest.raises(EventError):
            conversation.receive(item_done(odd))
        assert conversation.receive(done("resp_1", odd, function_call())) == [RunTool("call_1", "look", "{}")]
        conversation.tool_calls.answer("call_1", "42")
        assert conversation.responses.requested

    @pytest.mark.parametrize("odd", [None, "", 5, ["resp_1"]], ids=str)
    def test_a_response_under_an_odd_id(self, odd: Any) -> None:
        """A response under something that is no id is waited for all the same, and ends."""
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
    def test_no_event_breaks_it(self, event: dict[str, Any]) -> None:
        """An event of any shape is taken, left out, or refused with the one error that says so."""
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
        ids=["commits", "types", "speaks", "presses a key"],
    )
    def test_the_caller_is_heard(self, event: dict[str, Any]) -> None:
        """Whoever speaks, types or presses a key is there."""
        conversation = Conversation()
        assert conversation.reads(event["type"])
        conversation.receive(event)
        assert conversation.caller_heard

    def test_committed_silence_is_no_caller(self) -> None:
        """Silence that OpenAI commits after its idle time-out is not the caller."""
        conversation = Conversation()
        conversation.receive({"type": "input_audio_buffer.timeout_triggered", "item_id": "item_1"})
        conversation.receive({"type": "input_audio_buffer.committed", "item_id": "item_1"})
        user: dict[str, Any] = {"id": "item_1", "type": "message", "role": "user"}
        conversation.receive({"type": "conversation.item.added", "item": user})
        assert not conversation.caller_heard

    def test_the_model_is_no_caller(self) -> None:
        """What the model says is not the caller."""
        conversation = Conversation()
        item = {"id": "item_1", "type": "message", "role": "assistant"}
        conversation.receive({"type": "conversation.item.added", "item": item})
        assert not conversation.caller_heard
