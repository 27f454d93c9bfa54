"""Scripts of caller and model: what can be written, and how it is taken."""

from typing import Any

import pytest

from emulator.openai.script import Model, Script, ScriptError, Tool, parse_script


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        ({"calller": "Hi"}, "needs exactly one of caller, barge_in"),
        ({"caller": "Hi", "model": "Ho"}, "it has caller and model"),
        ({"caller": ""}, "caller: String should have at least 1 character"),
        ({"dtmf": "12x"}, "dtmf: String should match pattern"),
        ({"wait_for": "godot"}, "wait_for: Input should be 'greeting', 'tool_output' or 'response'"),
        ({"tool": "f", "args": {}}, "args: Extra inputs are not permitted"),
        ({"hang_up": False}, "hang_up: Input should be True or 'now'"),
    ],
    ids=["unknown step", "two steps", "no words", "odd keys", "unknown event", "unknown field", "odd value"],
)
def test_a_wrong_step_is_refused(step: dict[str, Any], complaint: str) -> None:
    """A step that can't be played is refused with its number and the reason."""
    with pytest.raises(ScriptError) as refused:
        parse_script([{"pause_ms": 1}, step])
    assert str(refused.value).startswith("Step 2 ")
    assert complaint in str(refused.value)


def take(script: Script, *, tools_allowed: bool = True, speaks_after_mcp: bool = True) -> list[str]:
    parts = script.take_turn(tools_allowed=tools_allowed, speaks_after_mcp=speaks_after_mcp)
    return [part.model if isinstance(part, Model) else part.tool if isinstance(part, Tool) else "mcp" for part in parts]


def test_steps_of_a_response() -> None:
    """A response takes one step, or a text together with the tools that follow it."""
    script = Script(
        parse_script([{"model": "A"}, {"model": "B"}, {"tools": [{"tool": "f"}, {"tool": "g"}]}, {"model": "C"}])
    )
    assert [take(script) for _ in range(4)] == [["A"], ["B", "f", "g"], ["C"], []]


def test_the_callers_turn() -> None:
    """A response takes nothing while it is the caller's turn."""
    script = Script(parse_script([{"caller": "Hi"}, {"model": "A"}]))
    assert take(script) == []
    script.advance()
    assert take(script) == ["A"]


@pytest.mark.parametrize(
    ("speaks", "turns"), [(True, [["mcp", "A"], []]), (False, [["mcp"], ["A"]])], ids=["speaks", "is silent"]
)
def test_speech_after_a_hosted_tool(speaks: bool, turns: list[list[str]]) -> None:
    """Whether the model speaks after a hosted tool, in the same response, is an option."""
    script = Script(parse_script([{"mcp": {"server_label": "s", "name": "n"}}, {"model": "A"}]))
    assert [take(script, speaks_after_mcp=speaks) for _ in range(2)] == turns


def test_tools_that_are_not_allowed() -> None:
    """Tools that a response may not call are passed over."""
    script = Script(parse_script([{"tool": "f"}, {"mcp": {"server_label": "s", "name": "n"}}, {"model": "A"}]))
    assert take(script, tools_allowed=False) == ["A"]


def test_arguments_as_text() -> None:
    """Arguments may be an object, or the very text that the model writes."""
    tools = parse_script([{"tool": "f", "arguments": '{"a": '}, {"tool": "f", "arguments": {"a": 1}}])
    assert [tool.arguments_json for tool in tools if isinstance(tool, Tool)] == ['{"a": ', '{"a":1}']
