"""The model's tool calls: outputs, hosted tools and their approval."""

import pytest

from tests.support.conversation_driver import AUDIO_RESPONSE, ConversationDriver, output


def test_tool_choice_none() -> None:
    """With the tool choice `none`, the script's tools are passed over."""
    driver = ConversationDriver({"tool": "a"}, {"tool": "b"}, {"model": "I'll stop here."})
    driver.client("response.create", response={"tool_choice": "none"})
    assert driver.run() == AUDIO_RESPONSE[:6] + AUDIO_RESPONSE[5:]
    assert driver.last("response.output_audio_transcript.done")["transcript"] == "I'll stop here."


def test_hosted_tools() -> None:
    """Hosted tools are listed once, and called by OpenAI itself."""
    tool = {"name": "search", "input_schema": {"type": "object"}}
    driver = ConversationDriver(
        {"mcp": {"server_label": "docs", "name": "search", "arguments": {"q": "x"}, "output": "found"}},
        {"model": "Found it."},
        mcp_servers={"docs": [tool], "broken": None},
    )
    servers = [
        {"type": "mcp", "server_label": label, "server_url": "https://x.example"} for label in ("docs", "broken")
    ]
    for _ in range(2):
        driver.client("session.update", session={"type": "realtime", "tools": servers})
    sent = driver.run()
    assert sent == [
        "session.updated", "mcp_list_tools.in_progress", "mcp_list_tools.in_progress", "session.updated",
        "conversation.item.added", "mcp_list_tools.completed", "conversation.item.done", "mcp_list_tools.failed",
    ]  # fmt: skip
    driver.client("response.create")
    sent = driver.run()
    assert [name for name in sent if "mcp" in name] == [
        "response.mcp_call_arguments.delta", "response.mcp_call_arguments.delta", "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress", "response.mcp_call.completed",
    ]  # fmt: skip
    assert [item["type"] for item in driver.last("response.done")["response"]["output"]] == ["mcp_call", "message"]


@pytest.mark.parametrize("approve", [True, False])
def test_approval_of_a_hosted_tool(approve: bool) -> None:
    """A hosted tool that needs an approval runs once it has it, and not when it is denied."""
    driver = ConversationDriver(
        {"mcp": {"server_label": "docs", "name": "pay", "approval": True, "error": "no funds"}}, {"model": "Sorry."}
    )
    driver.client("response.create")
    driver.run()
    request = driver.last("response.done")["response"]["output"][0]
    assert request["type"] == "mcp_approval_request"
    answer = {
        "id": "answer_1",
        "type": "mcp_approval_response",
        "approval_request_id": request["id"],
        "approve": approve,
    }
    driver.client("conversation.item.create", item=answer)
    sent = driver.run()
    assert ("response.mcp_call.failed" in sent) == approve
    assert ("response.done" in sent) == approve


def test_odd_tool_outputs_are_noted() -> None:
    """A second output of a call, and one of an unknown call, is kept, and noted in the log."""
    driver = ConversationDriver({"tool": "a", "call_id": "call_1"})
    driver.client("response.create")
    driver.run()
    for call_id in ("call_1", "call_1", "call_2"):
        driver.client("conversation.item.create", item=output(call_id))
    assert driver.run() == ["conversation.item.added", "conversation.item.done"] * 3
    assert driver.notes == ["duplicate_tool_output", "unknown_tool_call"]
