"""A session's configuration, and its updates."""

from tests.support.conversation_driver import ConversationDriver


def test_an_update_is_all_or_none() -> None:
    """An update is merged as a whole, or refused as a whole."""
    driver = ConversationDriver()
    driver.client("session.update", session={"type": "realtime", "instructions": "A", "temperature": 1}, event_id="e1")
    assert driver.error() == {
        "type": "invalid_request_error", "code": "unknown_parameter", "param": "session.temperature",
        "message": "Unknown parameter: 'session.temperature'.", "event_id": "e1",
    }  # fmt: skip
    assert driver.conversation.session["instructions"] != "A"
    driver.client("session.update", session={"instructions": "A"})
    assert driver.error()["message"] == "Missing required parameter: 'session.type'."
    driver.client(
        "session.update", session={"type": "realtime", "instructions": "", "audio": {"output": {"voice": "cedar"}}}
    )
    updated = driver.last("session.updated")["session"]
    assert (updated["instructions"], updated["audio"]["output"]["voice"]) == ("", "cedar")
    assert updated["audio"]["output"]["speed"] == 1.0
    assert updated["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200
    driver.run()


def test_the_voice_stays_once_heard() -> None:
    """The voice can't change once it was heard."""
    driver = ConversationDriver()
    driver.client("response.create")
    driver.run()
    driver.client("session.update", session={"type": "realtime", "audio": {"output": {"voice": "ash"}}})
    assert driver.error()["code"] == "cannot_update_voice"
