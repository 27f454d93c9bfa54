"""One response: its events in the recorded order, its tool calls, and how it ends early."""

import pytest

from tests.support.conversation_driver import AUDIO_RESPONSE, CALL_RESPONSE, ConversationDriver, output


def test_a_text_item_and_an_audio_response_come_in_the_recorded_order() -> None:
    driver = ConversationDriver({"model": "Good morning!"})
    driver.client(
        "conversation.item.create",
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    )
    driver.client("response.create")
    assert driver.run() == ["conversation.item.added", "conversation.item.done", *AUDIO_RESPONSE]


def test_a_function_call_its_output_and_the_answer_come_in_the_recorded_order() -> None:
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


def test_deltas_are_padded_and_make_up_the_whole_text() -> None:
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


def test_a_preamble_and_several_calls_share_one_response() -> None:
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


def test_a_response_beside_the_conversation_runs_with_an_active_one_and_leaves_no_item() -> None:
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


def test_cancel_ends_the_active_response_and_is_an_error_without_one() -> None:
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


def test_a_call_that_is_interrupted_ends_with_partial_arguments_and_is_not_complete() -> None:
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
def test_a_response_can_fail_or_stay_incomplete(status: str) -> None:
    fail = {"fail": {"code": "rate_limit_exceeded"}}
    driver = ConversationDriver(
        fail if status == "failed" else {"model": "Half a sen", "incomplete": "max_output_tokens"}
    )
    driver.client("response.create")
    driver.run()
    done = driver.last("response.done")["response"]
    assert done["status"] == done["status_details"]["type"] == status
    assert (done["usage"] is None) == (status == "failed")
