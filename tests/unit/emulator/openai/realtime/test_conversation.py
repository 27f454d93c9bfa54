"""The stand-in's conversation, without a socket: what is sent, in which order, and what is refused."""

import heapq
import itertools
from collections.abc import Generator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.openai.options import Options
from emulator.openai.realtime.conversation import Conversation
from emulator.openai.realtime.session import start_session
from emulator.openai.script import Script, parse_script
from tests.support.openai_types import check_server_event

Event = dict[str, Any]


class Stage:
    """A conversation with a clock of its own: what takes time waits until `run` lets it pass."""

    def __init__(self, *script: Mapping[str, Any], session: Event | None = None, **options: Any) -> None:
        self.events: list[Event] = []
        self.all_events: list[Event] = []
        self.notes: list[str] = []
        self._now_ms = 0.0
        self._plays: list[tuple[float, int, Generator[float, None, None]]] = []
        self._numbers = itertools.count()
        self.conversation = Conversation(
            start_session("sess_1", 1785287846, {"type": "realtime", **(session or {})}),
            Script(parse_script(script)),
            Options(**options),
            send=self.events.append,
            perform=self.perform,
            note=lambda what, _: self.notes.append(what),
        )

    def perform(self, play: Generator[float, None, None]) -> None:
        delay_ms = next(play, None)
        if delay_ms is not None:
            heapq.heappush(self._plays, (self._now_ms + delay_ms, next(self._numbers), play))

    def step(self) -> bool:
        """Let time pass until the next thing has happened; false, if nothing is going on."""
        if not self._plays:
            return False
        self._now_ms, _, play = heapq.heappop(self._plays)
        self.perform(play)
        return True

    def run(self) -> list[str]:
        """Let time pass until nothing is going on; the answer is what has been sent since the last time."""
        while self.step():
            pass
        return self.drain()

    def run_until(self, event_type: str) -> None:
        while not any(event["type"] == event_type for event in self.events):
            assert self.step(), f"{event_type} never came"

    def drain(self) -> list[str]:
        sent = [event["type"] for event in self.events]
        for event in self.events:
            check_server_event(event)
        self.all_events += self.events
        self.events.clear()
        return sent

    def client(self, type_: str, **fields: Any) -> None:
        self.conversation.receive({"type": type_, **fields})

    def say(self, text: str, transcription: str = "completed") -> None:
        self.perform(self.conversation.hear(text, transcription))

    def last(self, event_type: str) -> Event:
        return next(event for event in reversed(self.all_events + self.events) if event["type"] == event_type)

    def error(self) -> Event:
        return dict(self.last("error")["error"])


AUDIO_RESPONSE = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.delta",
    "output_audio_buffer.started",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
    "output_audio_buffer.stopped",
]
CALL_RESPONSE = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]
TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
]
TRANSCRIBED = {"audio": {"input": {"transcription": {"model": "gpt-transcribe"}}}}


def output(call_id: str, text: str = "sunny", **more: Any) -> Event:
    return {"type": "function_call_output", "call_id": call_id, "output": text, **more}


def test_a_text_item_and_an_audio_response_come_in_the_recorded_order() -> None:
    stage = Stage({"model": "Good morning!"})
    stage.client(
        "conversation.item.create",
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    )
    stage.client("response.create")
    assert stage.run() == ["conversation.item.added", "conversation.item.done", *AUDIO_RESPONSE]


def test_a_spoken_turn_comes_in_the_recorded_order() -> None:
    stage = Stage({"model": "Good morning!"})
    stage.say("Hello")
    assert stage.run() == [*TURN, *AUDIO_RESPONSE]


def test_a_function_call_its_output_and_the_answer_come_in_the_recorded_order() -> None:
    stage = Stage({"tool": "now", "arguments": {}, "call_id": "call_1"}, {"model": "It's noon."})
    stage.client("response.create")
    assert stage.run() == CALL_RESPONSE
    done = stage.last("response.done")["response"]
    assert [(item["type"], item["status"], item["call_id"]) for item in done["output"]] == [
        ("function_call", "completed", "call_1")
    ]
    stage.client("conversation.item.create", item=output("call_1"))
    stage.client("response.create")
    assert stage.run() == ["conversation.item.added", "conversation.item.done", *AUDIO_RESPONSE]


def test_transcription_comes_only_if_asked_for_and_says_what_was_said() -> None:
    stage = Stage({"model": "Hi"}, session=TRANSCRIBED)
    stage.say("Where is it?")
    stage.run()
    completed = stage.last("conversation.item.input_audio_transcription.completed")
    assert completed["transcript"] == "Where is it?"
    assert stage.conversation.history[completed["item_id"]]["content"][0]["transcript"] == "Where is it?"


def test_a_failed_transcription_is_said_so() -> None:
    stage = Stage(session=TRANSCRIBED)
    stage.say("mumble", "failed")
    assert "conversation.item.input_audio_transcription.failed" in stage.run()


def test_deltas_are_padded_and_make_up_the_whole_text() -> None:
    stage = Stage({"model": "One two, three. "}, {"tool": "f", "arguments": {"number": 12345678}})
    stage.client("response.create")
    stage.run()
    for name, whole in [
        ("response.output_audio_transcript", "One two, three. "),
        ("response.function_call_arguments", '{"number":12345678}'),
    ]:
        deltas = [event for event in stage.all_events if event["type"] == f"{name}.delta"]
        assert "".join(delta["delta"] for delta in deltas) == whole
        assert all(delta["obfuscation"] for delta in deltas)


def test_a_preamble_and_several_calls_share_one_response() -> None:
    stage = Stage({"model": "Let me see."}, {"tools": [{"tool": "a"}, {"tool": "b"}]}, {"model": "Both are fine."})
    stage.client("response.create")
    stage.run()
    items = stage.last("response.done")["response"]["output"]
    assert [item["type"] for item in items] == ["message", "function_call", "function_call"]
    for item in items[1:]:
        stage.client("conversation.item.create", item=output(item["call_id"]))
    stage.client("response.create")
    stage.run()
    assert stage.last("response.output_audio_transcript.done")["transcript"] == "Both are fine."


def test_without_a_step_for_it_the_model_greets_repeats_outputs_and_echoes() -> None:
    stage = Stage()

    def said() -> str:
        stage.run()
        return str(stage.last("response.output_audio_transcript.done")["transcript"])

    stage.client("response.create")
    assert said() == "Hello, how can I help you?"
    stage.client("conversation.item.create", item=output("call_x", "B-1042: shipped"))
    stage.client("response.create")
    assert said() == "Here is what I found: B-1042: shipped"
    stage.say("Is it blue?")
    assert said() == "You said: Is it blue?"


def test_a_second_response_is_refused_in_the_services_words_and_nothing_is_queued() -> None:
    stage = Stage()
    stage.client("response.create")
    stage.client("response.create", event_id="mine")
    active = stage.conversation.active
    assert active
    assert stage.error() == {
        "type": "invalid_request_error",
        "code": "conversation_already_has_active_response",
        "message": f"Conversation already has an active response in progress: {active.id}. "
        "Wait until the response is finished before creating a new one.",
        "param": None,
        "event_id": "mine",
    }
    assert stage.run().count("response.created") == 1


def test_a_response_beside_the_conversation_runs_with_an_active_one_and_leaves_no_item() -> None:
    stage = Stage({"model": "I am talking and talking."})
    stage.client("response.create")
    stage.client(
        "response.create",
        response={"conversation": "none", "output_modalities": ["text"], "metadata": {"why": "summary"}, "input": []},
    )
    sent = stage.run()
    assert sent.count("response.created") == 2
    assert sent.count("conversation.item.added") == 1
    asides = [event["response"] for event in stage.all_events if event["type"] == "response.done"]
    aside = next(response for response in asides if response["conversation_id"] is None)
    assert (aside["metadata"], aside["status"]) == ({"why": "summary"}, "completed")
    assert aside["output"][0]["content"] == [{"type": "output_text", "text": "Noted."}]


def test_cancel_ends_the_active_response_and_is_an_error_without_one() -> None:
    stage = Stage({"model": "A long story about many things."})
    stage.client("response.cancel")
    assert (stage.error()["code"], stage.error()["message"]) == (
        "response_cancel_not_active",
        "Cancellation failed: no active response found",
    )
    stage.client("response.create")
    stage.run_until("response.output_audio_transcript.delta")
    stage.client("response.cancel")
    assert stage.conversation.active is None
    done = stage.last("response.done")["response"]
    assert (done["status"], done["status_details"]) == (
        "cancelled",
        {"type": "cancelled", "reason": "client_cancelled"},
    )
    assert done["output"][0]["status"] == "incomplete"
    stage.run()


def test_speaking_over_the_model_cancels_and_clears_what_it_says() -> None:
    stage = Stage({"model": " ".join(["word"] * 40)})
    stage.client("response.create")
    stage.run_until("output_audio_buffer.started")
    stage.drain()
    stage.say("Stop")
    assert stage.drain() == [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
        "output_audio_buffer.cleared",
        "conversation.item.truncated",
    ]
    assert stage.last("response.done")["response"]["status_details"]["reason"] == "turn_detected"
    assert "output_audio_buffer.stopped" not in stage.run()[: len(TURN)]


def test_speaking_over_a_finished_response_that_is_still_heard_clears_it() -> None:
    stage = Stage({"model": "It ships tomorrow morning."})
    stage.client("response.create")
    stage.run_until("response.done")
    stage.say("Thanks")
    assert [event["type"] for event in stage.events][-3:] == [
        "input_audio_buffer.speech_started",
        "output_audio_buffer.cleared",
        "conversation.item.truncated",
    ]
    stage.run()


def test_a_call_that_is_interrupted_ends_with_partial_arguments_and_is_not_complete() -> None:
    stage = Stage({"tool": "order", "arguments": {"order_id": "B-1042"}})
    stage.client("response.create")
    stage.run_until("response.function_call_arguments.delta")
    stage.say("No, wait")
    done = stage.last("response.function_call_arguments.done")
    item = stage.last("response.output_item.done")["item"]
    assert '{"order_id":"B-1042"}'.startswith(done["arguments"])
    assert done["arguments"] == item["arguments"] != '{"order_id":"B-1042"}'
    assert item["status"] == "incomplete"
    assert not stage.conversation.pending_outputs
    stage.run()


@pytest.mark.parametrize(("interrupt", "create"), [(False, True), (True, False), (False, False)])
def test_turn_detection_does_what_the_session_says(interrupt: bool, create: bool) -> None:
    detection = {"type": "server_vad", "interrupt_response": interrupt, "create_response": create}
    stage = Stage(session={"audio": {"input": {"turn_detection": detection}}})
    stage.client("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    stage.client("response.create")
    stage.run_until("response.output_audio_transcript.delta")
    stage.say("Hello")
    assert ("response.done" in stage.drain()) == interrupt
    stage.run()
    stage.say("Hello again")
    assert ("response.created" in stage.run()) == create


def test_without_turn_detection_a_client_commits() -> None:
    stage = Stage()
    stage.client("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    stage.client("input_audio_buffer.commit")
    assert stage.error()["code"] == "input_audio_buffer_commit_empty"
    stage.say("Hello")
    stage.run()
    stage.client("input_audio_buffer.commit")
    assert stage.run() == TURN[2:]


def test_a_caller_who_stays_silent_too_long_is_spoken_to() -> None:
    detection = {"type": "server_vad", "idle_timeout_ms": 6000}
    stage = Stage()
    stage.client("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    stage.client("response.create")
    stage.run_until("output_audio_buffer.stopped")
    stage.drain()
    assert stage.step()
    assert stage.drain() == ["input_audio_buffer.timeout_triggered", *TURN[2:], "response.created"]


def test_no_tool_is_called_when_the_choice_is_none() -> None:
    stage = Stage({"tool": "a"}, {"tool": "b"}, {"model": "I'll stop here."})
    stage.client("response.create", response={"tool_choice": "none"})
    assert stage.run() == AUDIO_RESPONSE[:6] + AUDIO_RESPONSE[5:]
    assert stage.last("response.output_audio_transcript.done")["transcript"] == "I'll stop here."


@pytest.mark.parametrize("status", ["failed", "incomplete"])
def test_a_response_can_fail_or_stay_incomplete(status: str) -> None:
    fail = {"fail": {"code": "rate_limit_exceeded"}}
    stage = Stage(fail if status == "failed" else {"model": "Half a sen", "incomplete": "max_output_tokens"})
    stage.client("response.create")
    stage.run()
    done = stage.last("response.done")["response"]
    assert done["status"] == done["status_details"]["type"] == status
    assert (done["usage"] is None) == (status == "failed")


def test_hosted_tools_are_listed_once_and_called_by_the_server() -> None:
    tool = {"name": "search", "input_schema": {"type": "object"}}
    stage = Stage(
        {"mcp": {"server_label": "docs", "name": "search", "arguments": {"q": "x"}, "output": "found"}},
        {"model": "Found it."},
        mcp_servers={"docs": [tool], "broken": None},
    )
    servers = [
        {"type": "mcp", "server_label": label, "server_url": "https://x.example"} for label in ("docs", "broken")
    ]
    for _ in range(2):
        stage.client("session.update", session={"type": "realtime", "tools": servers})
    sent = stage.run()
    assert sent == [
        "session.updated", "mcp_list_tools.in_progress", "mcp_list_tools.in_progress", "session.updated",
        "conversation.item.added", "mcp_list_tools.completed", "conversation.item.done", "mcp_list_tools.failed",
    ]  # fmt: skip
    stage.client("response.create")
    sent = stage.run()
    assert [name for name in sent if "mcp" in name] == [
        "response.mcp_call_arguments.delta", "response.mcp_call_arguments.delta", "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress", "response.mcp_call.completed",
    ]  # fmt: skip
    assert [item["type"] for item in stage.last("response.done")["response"]["output"]] == ["mcp_call", "message"]


@pytest.mark.parametrize("approve", [True, False])
def test_a_hosted_tool_that_needs_approval_waits_for_it(approve: bool) -> None:
    stage = Stage(
        {"mcp": {"server_label": "docs", "name": "pay", "approval": True, "error": "no funds"}}, {"model": "Sorry."}
    )
    stage.client("response.create")
    stage.run()
    request = stage.last("response.done")["response"]["output"][0]
    assert request["type"] == "mcp_approval_request"
    answer = {
        "id": "answer_1",
        "type": "mcp_approval_response",
        "approval_request_id": request["id"],
        "approve": approve,
    }
    stage.client("conversation.item.create", item=answer)
    sent = stage.run()
    assert ("response.mcp_call.failed" in sent) == approve
    assert ("response.done" in sent) == approve


def test_an_update_is_merged_whole_or_refused_whole() -> None:
    stage = Stage()
    stage.client("session.update", session={"type": "realtime", "instructions": "A", "temperature": 1}, event_id="e1")
    assert stage.error() == {
        "type": "invalid_request_error", "code": "unknown_parameter", "param": "session.temperature",
        "message": "Unknown parameter: 'session.temperature'.", "event_id": "e1",
    }  # fmt: skip
    assert stage.conversation.session["instructions"] != "A"
    stage.client("session.update", session={"instructions": "A"})
    assert stage.error()["message"] == "Missing required parameter: 'session.type'."
    stage.client(
        "session.update", session={"type": "realtime", "instructions": "", "audio": {"output": {"voice": "cedar"}}}
    )
    updated = stage.last("session.updated")["session"]
    assert (updated["instructions"], updated["audio"]["output"]["voice"]) == ("", "cedar")
    assert updated["audio"]["output"]["speed"] == 1.0
    assert updated["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200
    stage.run()


def test_the_voice_cannot_change_after_it_was_heard() -> None:
    stage = Stage()
    stage.client("response.create")
    stage.run()
    stage.client("session.update", session={"type": "realtime", "audio": {"output": {"voice": "ash"}}})
    assert stage.error()["code"] == "cannot_update_voice"


def test_items_are_placed_retrieved_truncated_and_deleted_by_id() -> None:
    stage = Stage({"model": "Good day to you"})
    stage.client("response.create")
    stage.run()
    spoken = stage.last("conversation.item.done")["item"]["id"]
    stage.client("conversation.item.create", item=output("c", id="out_1"), previous_item_id="root")
    assert stage.last("conversation.item.added")["previous_item_id"] is None
    stage.client("conversation.item.retrieve", item_id="out_1")
    assert stage.last("conversation.item.retrieved")["item"]["output"] == "sunny"
    stage.client("conversation.item.retrieve", item_id=spoken)
    assert stage.last("conversation.item.retrieved")["item"]["content"][0]["audio"]
    stage.client("conversation.item.truncate", item_id=spoken, content_index=0, audio_end_ms=10)
    stage.client("conversation.item.retrieve", item_id=spoken)
    assert stage.last("conversation.item.retrieved")["item"]["content"][0]["transcript"] is None
    stage.client("conversation.item.delete", item_id="out_1")
    stage.client("conversation.item.retrieve", item_id="out_1", event_id="asked")
    assert (stage.error()["code"], stage.error()["event_id"]) == ("item_retrieve_invalid_item_id", "asked")
    stage.run()


def test_an_id_that_exists_is_refused_and_leaves_the_first_item_alone() -> None:
    stage = Stage()
    stage.client("conversation.item.create", item=output("c", "first", id="out_1"))
    stage.client("conversation.item.create", item=output("c", "second", id="out_1"))
    assert stage.error()["code"] == "item_create_duplicate_item_id"
    assert stage.conversation.history["out_1"]["output"] == "first"


def test_an_id_of_more_than_32_characters_is_refused() -> None:
    stage = Stage()
    stage.client("conversation.item.create", item=output("c", id="x" * 33))
    assert stage.error()["code"] == "string_above_max_length"


def test_odd_tool_outputs_are_kept_and_noted() -> None:
    stage = Stage({"tool": "a", "call_id": "call_1"})
    stage.client("response.create")
    stage.run()
    for call_id in ("call_1", "call_1", "call_2"):
        stage.client("conversation.item.create", item=output(call_id))
    assert stage.run() == ["conversation.item.added", "conversation.item.done"] * 3
    assert stage.notes == ["duplicate_tool_output", "unknown_tool_call"]


def test_keys_come_without_an_event_id() -> None:
    stage = Stage()
    stage.conversation.press("#", 1750287018)
    assert stage.events == [{"type": "input_audio_buffer.dtmf_event_received", "event": "#", "received_at": 1750287018}]
    stage.run()


def test_novelties_are_unknown_to_the_official_client() -> None:
    stage = Stage(novelties=True)
    stage.client("response.create")
    assert [event["type"] for event in stage.events] == ["response.created", "response.novelty"]
    assert all("x_novelty" in event for event in stage.events)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ([], "invalid_json"),
        ({}, "missing_required_parameter"),
        ({"type": "response.audio.delta"}, "invalid_value"),
        ({"type": ["x"]}, "invalid_value"),
        ({"type": "response.create", "response": 7}, "invalid_type"),
        ({"type": "response.create", "response": {"temperature": 1}}, "unknown_parameter"),
        ({"type": "response.cancel", "event_id": 5}, "invalid_value"),
        ({"type": "session.update"}, "missing_required_parameter"),
        ({"type": "session.update", "session": {"type": "realtime", "model": "gpt-realtime"}}, "invalid_value"),
        ({"type": "conversation.item.create"}, "invalid_value"),
        (
            {"type": "conversation.item.create", "item": {"type": "function_call_output", "output": "x"}},
            "missing_required_parameter",
        ),
        ({"type": "conversation.item.truncate", "item_id": "?"}, "item_truncate_invalid_item_id"),
        ({"type": "conversation.item.delete"}, "item_delete_invalid_item_id"),
    ],
)
def test_what_is_wrong_is_answered_by_an_error_event(event: object, code: str) -> None:
    stage = Stage()
    stage.conversation.receive(event)
    assert stage.error()["code"] == code
    stage.client("response.create")
    assert "response.done" in stage.run()


_BARE_EVENTS = [
    "response.create",
    "response.cancel",
    "output_audio_buffer.clear",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "nonsense",
]
_RESPONSES = [
    {"conversation": "none", "output_modalities": ["text"]},
    {"conversation": "none"},
    {"tool_choice": "none", "metadata": {"a": "b"}},
]
_DETECTIONS = [
    None,
    {"type": "semantic_vad"},
    {"type": "server_vad", "interrupt_response": False},
    {"type": "server_vad", "idle_timeout_ms": 5000},
]
_IDS = st.sampled_from(["a", "b", "root"])


@st.composite
def _client_events(draw: st.DrawFn) -> Event:
    item_id = draw(_IDS)
    return draw(
        st.sampled_from(
            [
                *({"type": name} for name in _BARE_EVENTS),
                *({"type": "response.create", "response": response} for response in _RESPONSES),
                *(_update(detection) for detection in _DETECTIONS),
                {"type": "conversation.item.create", "item": output("c1", id=item_id), "previous_item_id": draw(_IDS)},
                {"type": "conversation.item.retrieve", "item_id": item_id},
                {"type": "conversation.item.delete", "item_id": item_id},
                {"type": "conversation.item.truncate", "item_id": item_id, "content_index": 0, "audio_end_ms": 1},
            ]
        )
    )


def _update(detection: Event | None) -> Event:
    session = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
    return {"type": "session.update", "session": session}


_ACTS = st.lists(st.one_of(_client_events(), st.integers(0, 12), st.just("say")), max_size=40)
_SCRIPT: list[Event] = [
    {"model": "Let me see what I can find for you."},
    {"tools": [{"tool": "a", "call_id": "c1"}, {"tool": "b", "arguments": {"x": 1}}]},
    {"model": "Here.", "incomplete": "max_output_tokens"},
    {"mcp": {"server_label": "s", "name": "n", "output": "o"}},
    {"fail": {"code": "rate_limit_exceeded"}},
]


@settings(max_examples=150, deadline=None)
@given(_ACTS)
def test_whatever_a_client_does_there_is_one_active_response_and_every_event_is_valid(acts: list[Any]) -> None:
    stage = Stage(*_SCRIPT, session=TRANSCRIBED)
    for act in acts:
        if isinstance(act, int):
            for _ in range(act):
                stage.step()
        elif act == "say":
            stage.say("What?")
        else:
            stage.conversation.receive(act)
    for _ in range(400):  # bounded, since a caller who stays idle is spoken to for ever
        if not stage.step():
            break
    stage.drain()
    active: set[str] = set()
    for event in stage.all_events:
        if event["type"] in ("response.created", "response.done") and event["response"]["conversation_id"]:
            (active.add if event["type"] == "response.created" else active.remove)(event["response"]["id"])
        assert len(active) <= 1
    audible = [event["response_id"] for event in stage.all_events if event["type"].startswith("output_audio_buffer.")]
    assert all(audible.count(response) <= 2 for response in audible)
