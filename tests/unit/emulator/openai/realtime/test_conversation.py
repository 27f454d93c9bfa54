"""The stand-in's conversation without a socket: the rules between its parts."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.conversation_driver import TRANSCRIBED, ConversationDriver, Event, output


def test_a_model_without_a_script() -> None:
    """Without a step for it, the model greets, repeats a tool's output, and echoes the caller."""
    driver = ConversationDriver()

    def said() -> str:
        driver.run()
        return str(driver.last("response.output_audio_transcript.done")["transcript"])

    driver.client("response.create")
    assert said() == "Hello, how can I help you?"
    driver.client("conversation.item.create", item=output("call_x", "B-1042: shipped"))
    driver.client("response.create")
    assert said() == "Here is what I found: B-1042: shipped"
    driver.say("Is it blue?")
    assert said() == "You said: Is it blue?"


def test_a_second_response_is_refused() -> None:
    """A second response is refused in OpenAI's words, and not queued."""
    driver = ConversationDriver()
    driver.client("response.create")
    driver.client("response.create", event_id="mine")
    active = driver.conversation.active
    assert active
    assert driver.error() == {
        "type": "invalid_request_error",
        "code": "conversation_already_has_active_response",
        "message": f"Conversation already has an active response in progress: {active.id}. "
        "Wait until the response is finished before creating a new one.",
        "param": None,
        "event_id": "mine",
    }
    assert driver.run().count("response.created") == 1


def test_keys_come_without_an_event_id() -> None:
    """A key that is pressed comes as an event without an id, as at OpenAI."""
    driver = ConversationDriver()
    driver.conversation.press("#", 1750287018)
    assert driver.events == [
        {"type": "input_audio_buffer.dtmf_event_received", "event": "#", "received_at": 1750287018}
    ]
    driver.run()


def test_novelties() -> None:
    """With the option `novelties` there are events and fields that OpenAI's client does not know."""
    driver = ConversationDriver(novelties=True)
    driver.client("response.create")
    assert [event["type"] for event in driver.events] == ["response.created", "response.novelty"]
    assert all("x_novelty" in event for event in driver.events)


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
    ids=[
        *("no object", "no type", "an old type", "a type that is no text", "a response that is no object"),
        *("an unknown field", "an odd event id", "no session", "another model", "no item", "no call id"),
        *("truncates an unknown item", "deletes no item"),
    ],
)
def test_a_wrong_event_gets_an_error(event: object, code: str) -> None:
    """A wrong client event is answered by an error event, and the call goes on."""
    driver = ConversationDriver()
    driver.conversation.receive(event)
    assert driver.error()["code"] == code
    driver.client("response.create")
    assert "response.done" in driver.run()


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
def test_whatever_a_client_does(acts: list[Any]) -> None:
    """Whatever a client does, there is one active response at most, and every event is valid."""
    driver = ConversationDriver(*_SCRIPT, session=TRANSCRIBED)
    for act in acts:
        if isinstance(act, int):
            for _ in range(act):
                driver.step()
        elif act == "say":
            driver.say("What?")
        else:
            driver.conversation.receive(act)
    for _ in range(400):  # bounded, since a caller who stays idle is spoken to for ever
        if not driver.step():
            break
    driver.drain()
    active: set[str] = set()
    for event in driver.all_events:
        if event["type"] in ("response.created", "response.done") and event["response"]["conversation_id"]:
            (active.add if event["type"] == "response.created" else active.remove)(event["response"]["id"])
        assert len(active) <= 1
    audible = [event["response_id"] for event in driver.all_events if event["type"].startswith("output_audio_buffer.")]
    assert all(audible.count(response) <= 2 for response in audible)
