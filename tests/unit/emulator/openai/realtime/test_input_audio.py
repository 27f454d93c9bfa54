"""What the caller says: turns, their transcription, interruptions and silence."""

import pytest

from tests.support.conversation_driver import AUDIO_RESPONSE, TRANSCRIBED, TURN, ConversationDriver


def test_a_spoken_turn_comes_in_the_recorded_order() -> None:
    driver = ConversationDriver({"model": "Good morning!"})
    driver.say("Hello")
    assert driver.run() == [*TURN, *AUDIO_RESPONSE]


def test_transcription_comes_only_if_asked_for_and_says_what_was_said() -> None:
    driver = ConversationDriver({"model": "Hi"}, session=TRANSCRIBED)
    driver.say("Where is it?")
    driver.run()
    completed = driver.last("conversation.item.input_audio_transcription.completed")
    assert completed["transcript"] == "Where is it?"
    assert driver.conversation.history[completed["item_id"]]["content"][0]["transcript"] == "Where is it?"


def test_a_failed_transcription_is_said_so() -> None:
    driver = ConversationDriver(session=TRANSCRIBED)
    driver.say("mumble", "failed")
    assert "conversation.item.input_audio_transcription.failed" in driver.run()


def test_speaking_over_the_model_cancels_and_clears_what_it_says() -> None:
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


def test_speaking_over_a_finished_response_that_is_still_heard_clears_it() -> None:
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
def test_turn_detection_does_what_the_session_says(interrupt: bool, create: bool) -> None:
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


def test_without_turn_detection_a_client_commits() -> None:
    driver = ConversationDriver()
    driver.client("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    driver.client("input_audio_buffer.commit")
    assert driver.error()["code"] == "input_audio_buffer_commit_empty"
    driver.say("Hello")
    driver.run()
    driver.client("input_audio_buffer.commit")
    assert driver.run() == TURN[2:]


def test_a_caller_who_stays_silent_too_long_is_spoken_to() -> None:
    detection = {"type": "server_vad", "idle_timeout_ms": 6000}
    driver = ConversationDriver()
    driver.client("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
    driver.client("response.create")
    driver.run_until("output_audio_buffer.stopped")
    driver.drain()
    assert driver.step()
    assert driver.drain() == ["input_audio_buffer.timeout_triggered", *TURN[2:], "response.created"]
