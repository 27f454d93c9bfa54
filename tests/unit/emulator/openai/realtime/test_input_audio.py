"""What the caller says: turns, their transcription, interruptions and silence."""

import pytest

from tests.support.conversation_driver import AUDIO_RESPONSE, TRANSCRIBED, TURN, ConversationDriver


def test_a_spoken_turn() -> None:
    """The events of a spoken turn and its answer come in the order that was recorded at OpenAI."""
    driver = ConversationDriver({"model": "Good morning!"})
    driver.say("Hello")
    assert driver.run() == [*TURN, *AUDIO_RESPONSE]


def test_transcription() -> None:
    """Where the session wants it, a transcription says what was said; the item has it, too."""
    driver = ConversationDriver({"model": "Hi"}, session=TRANSCRIBED)
    driver.say("Where is it?")
    driver.run()
    completed = driver.last("conversation.item.input_audio_transcription.completed")
    assert completed["transcript"] == "Where is it?"
    assert driver.conversation.history[completed["item_id"]]["content"][0]["transcript"] == "Where is it?"


def test_a_failed_transcription() -> None:
    """A transcription that failed has an event of its own."""
    driver = ConversationDriver(session=TRANSCRIBED)
    driver.say("mumble", "failed")
    assert "conversation.item.input_audio_transcription.failed" in driver.run()


def test_speaking_over_the_model() -> None:
    """A caller who speaks over the model cancels its response and clears its audio."""
    driver = ConversationDriver({"model": " ".join(["word"] * 40)})
    driver.client("response.create")
    driver.run_until("output_audio_buffer.started")
    driver.drain()
    driver.say("Stop")
    assert driver.drain() == [
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
    assert driver.last("response.done")["response"]["status_details"]["reason"] == "turn_detected"
    assert "output_audio_buffer.stopped" not in driver.run()[: len(TURN)]


def test_speaking_over_its_audio() -> None:
    """A caller who speaks over a response that is done but still heard clears its audio."""
    driver = ConversationDriver({"model": "It ships tomorrow morning."})
    driver.client("response.create")
    driver.run_until("response.done")
    driver.say("Thanks")
    assert [event["type"] for event in driver.events][-3:] == [
        "input_audio_buffer.speech_started",
        "output_audio_buffer.cleared",
        "conversation.item.truncated",
    ]
    driver.run()


@pytest.mark.parametrize(("interrupt", "create"), [(False, True), (True, False), (False, False)])
def test_turn_detection(interrupt: bool, create: bool) -> None:
    """Turn detection interrupts, and makes responses, as the session says."""
    detection = {"type": "server_vad", "interrupt_response": interrupt, "create_response": create}
    driver = ConversationDriver(session={"audio": {"input": {"turn_detection": detection}}})
    driver.client("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    driver.client("response.create")
    driver.run_until("response.output_audio_transcript.delta")
    driver.say("Hello")
    assert ("response.done" in driver.drain()) == interrupt
    driver.run()
    driver.say("Hello again")
    assert ("response.created" in driver.run()) == create


def test_no_turn_detection() -> None:
    """Without turn detection the client commits what was said; with nothing said, that is an error."""
    driver = ConversationDriver()
    driver.client("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    driver.client("input_audio_buffer.commit")
    assert driver.error()["code"] == "input_audio_buffer_commit_empty"
    driver.say("Hello")
    driver.run()
    driver.client("input_audio_buffer.commit")
    assert driver.run() == TURN[2:]


def test_a_silent_caller() -> None:
    """A caller who is silent for `idle_timeout_ms` is spoken to."""
    detection = {"type": "server_vad", "idle_timeout_ms": 6000}
    driver = ConversationDriver()
    driver.client("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    driver.client("response.create")
    driver.run_until("output_audio_buffer.stopped")
    driver.drain()
    assert driver.step()
    assert driver.drain() == ["input_audio_buffer.timeout_triggered", *TURN[2:], "response.created"]
