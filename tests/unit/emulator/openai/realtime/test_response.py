"""One response: its events in the recorded order, its tool calls, and how it ends early."""

import pytest

from tests.support.conversation_driver import AUDIO_RESPONSE, CALL_RESPONSE, ConversationDriver, output


def test_a_text_and_its_answer() -> None:
    """A text item and the spoken answer to it come in the order that was recorded at OpenAI."""
    driver = ConversationDriver({"model": "Good morning!"})
    driver.client(
        "conversation.item.create",
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    )
    driver.client("response.create")
    assert driver.run() == ["conversation.item.added", "conversation.item.done", *AUDIO_RESPONSE]


def test_a_function_call() -> None:
    """A function call, its output and the answer come in the order that was recorded at OpenAI."""
    driver = ConversationDriver({"tool": "now", "arguments": {}, "call_id": "call_1"}, {"model": "It's noon."})
    driver.client("response.create")
    assert driver.run() == CALL_RESPONSE
    done = driver.last("response.done")["response"]
    assert [(item["type"], item["status"], item["call_id"]) for item in done["output"]] == [
        ("function_call", "completed", "call_1")
    ]
    driver.client("conversation.item.create", item=output("call_1"))
    driver.client("response.create")
    assert driver.run() == ["conversation.item.added", "conversation.item.done", *AUDIO_RESPONSE]


def test_deltas() -> None:
    """Deltas make up the whole text, and each is padded."""
    driver = ConversationDriver({"model": "One two, three. "}, {"tool": "f", "arguments": {"number": 12345678}})
    driver.client("response.create")
    driver.run()
    for name, whole in [
        ("response.output_audio_transcript", "One two, three. "),
        ("response.function_call_arguments", '{"number":12345678}'),
    ]:
        deltas = [event for event in driver.all_events if event["type"] == f"{name}.delta"]
        assert "".join(delta["delta"] for delta in deltas) == whole
        assert all(delta["obfuscation"] for delta in deltas)


def test_a_preamble_and_several_calls() -> None:
    """What the model says before its tool calls is in the same response as they are."""
    driver = ConversationDriver(
        {"model": "Let me see."}, {"tools": [{"tool": "a"}, {"tool": "b"}]}, {"model": "Both are fine."}
    )
    driver.client("response.create")
    driver.run()
    items = driver.last("response.done")["response"]["output"]
    assert [item["type"] for item in items] == ["message", "function_call", "function_call"]
    for item in items[1:]:
        driver.client("conversation.item.create", item=output(item["call_id"]))
    driver.client("response.create")
    driver.run()
    assert driver.last("response.output_audio_transcript.done")["transcript"] == "Both are fine."


def test_an_out_of_band_response() -> None:
    """A response outside the conversation runs beside an active one, and leaves no item."""
    driver = ConversationDriver({"model": "I am talking and talking."})
    driver.client("response.create")
    driver.client(
        "response.create",
        response={"conversation": "none", "output_modalities": ["text"], "metadata": {"why": "summary"}, "input": []},
    )
    sent = driver.run()
    assert sent.count("response.created") == 2
    assert sent.count("conversation.item.added") == 1
    asides = [event["response"] for event in driver.all_events if event["type"] == "response.done"]
    aside = next(response for response in asides if response["conversation_id"] is None)
    assert (aside["metadata"], aside["status"]) == ({"why": "summary"}, "completed")
    assert aside["output"][0]["content"] == [{"type": "output_text", "text": "Noted."}]


def test_cancel() -> None:
    """A cancel ends the active response; without one it is an error."""
    driver = ConversationDriver({"model": "A long story about many things."})
    driver.client("response.cancel")
    assert (driver.error()["code"], driver.error()["message"]) == (
        "response_cancel_not_active",
        "Cancellation failed: no active response found",
    )
    driver.client("response.create")
    driver.run_until("response.output_audio_transcript.delta")
    driver.client("response.cancel")
    assert driver.conversation.active is None
    done = driver.last("response.done")["response"]
    assert (done["status"], done["status_details"]) == (
        "cancelled",
        {"type": "cancelled", "reason": "client_cancelled"},
    )
    assert done["output"][0]["status"] == "incomplete"
    driver.run()


def test_an_interrupted_call() -> None:
    """A function call that is interrupted ends incomplete, with a part of its arguments."""
    driver = ConversationDriver({"tool": "order", "arguments": {"order_id": "B-1042"}})
    driver.client("response.create")
    driver.run_until("response.function_call_arguments.delta")
    driver.say("No, wait")
    done = driver.last("response.function_call_arguments.done")
    item = driver.last("response.output_item.done")["item"]
    assert '{"order_id":"B-1042"}'.startswith(done["arguments"])
    assert done["arguments"] == item["arguments"] != '{"order_id":"B-1042"}'
    assert item["status"] == "incomplete"
    assert not driver.conversation.pending_outputs
    driver.run()


@pytest.mark.parametrize("status", ["failed", "incomplete"])
def test_a_failed_response(status: str) -> None:
    """A response can fail, or stay incomplete, as the script says."""
    fail = {"fail": {"code": "rate_limit_exceeded"}}
    driver = ConversationDriver(
        fail if status == "failed" else {"model": "Half a sen", "incomplete": "max_output_tokens"}
    )
    driver.client("response.create")
    driver.run()
    done = driver.last("response.done")["response"]
    assert done["status"] == done["status_details"]["type"] == status
    assert (done["usage"] is None) == (status == "failed")
