"""Server events of OpenAI's Realtime API, and what a conversation answers them with."""

from collections.abc import Sequence
from typing import Any

from supervisor.conversation.actions import Action, Send
from supervisor.conversation.realtime.conversation import Conversation


def created(response_id: str = "resp_1", mark: str | None = None) -> dict[str, Any]:
    """Return the event that begins a response; `mark` is the id of the event that asked for it."""
    metadata = {"sideband": mark} if mark else None
    return {"type": "response.created", "response": {"id": response_id, "status": "in_progress", "metadata": metadata}}


def function_call(tool_call_id: str = "call_1", *, status: str = "completed", arguments: str = "{}") -> dict[str, Any]:
    """Return the item of a tool call."""
    return {
        "type": "function_call",
        "call_id": tool_call_id,
        "name": "look",
        "arguments": arguments,
        "status": status,
    }


def item_done(item: dict[str, Any], response_id: str = "resp_1") -> dict[str, Any]:
    """Return the event that completes an item."""
    return {"type": "response.output_item.done", "response_id": response_id, "item": item}


def done(
    response_id: str = "resp_1", *output: dict[str, Any], usage: dict[str, Any] | None = None, mark: str | None = None
) -> dict[str, Any]:
    """Return the event that ends a response."""
    response = {"id": response_id, "status": "completed", "output": list(output), "usage": usage}
    return {"type": "response.done", "response": {**response, "metadata": {"sideband": mark} if mark else None}}


def error(code: str, event_id: str | None = None) -> dict[str, Any]:
    """Return an error; `event_id` is that of the client event that caused it."""
    return {"type": "error", "error": {"type": "invalid_request_error", "code": code, "event_id": event_id}}


def sent(actions: Sequence[Action]) -> list[str]:
    """Return the types of the events that are sent."""
    return [action.event["type"] for action in actions if isinstance(action, Send)]


def event_of(actions: Sequence[Action], type_: str) -> dict[str, Any]:
    """Return the first event of this type that is sent."""
    return next(action.event for action in actions if isinstance(action, Send) and action.event["type"] == type_)


def spoken(conversation: Conversation, actions: Sequence[Action]) -> list[str | None]:
    """Begin and end each response that is asked for; returns their instructions."""
    instructions = []
    while "response.create" in sent(actions):
        create = event_of(actions, "response.create")
        instructions.append(create["response"].get("instructions"))
        conversation.receive(created("resp_ours", mark=create["event_id"]))
        actions = conversation.receive(done("resp_ours", mark=create["event_id"]))
    return instructions
