"""Scripts of caller and model: what can be written, and how it is taken."""

from typing import Any

import pytest

from emulator.openai.options import Options
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
)
def test_a_step_that_cannot_be_played_is_refused_by_its_number_and_reason(step: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScriptError) as refused:
        parse_script([{"pause_ms": 1}, step])
    assert str(refused.value).startswith("Step 2 ")
    assert complaint in str(refused.value)


def take(script: Script, *, tools_allowed: bool = True, speaks_after_mcp: bool = True) -> list[str]:
    parts = script.take_turn(tools_allowed=tools_allowed, speaks_after_mcp=speaks_after_mcp)
    return [part.model if isinstance(part, Model) else part.tool if isinstance(part, Tool) else "mcp" for part in parts]


def test_a_response_takes_one_step_and_a_preamble_with_the_tools_it_announces() -> None:
    script = Script(
        parse_script([{"model": "A"}, {"model": "B"}, {"tools": [{"tool": "f"}, {"tool": "g"}]}, {"model": "C"}])
    )
    assert [take(script) for _ in range(4)] == [["A"], ["B", "f", "g"], ["C"], []]


def test_a_response_takes_nothing_while_it_is_the_callers_turn() -> None:
    script = Script(parse_script([{"caller": "Hi"}, {"model": "A"}]))
    assert take(script) == []
    script.advance()
    assert take(script) == ["A"]


@pytest.mark.parametrize(("speaks", "turns"), [(True, [["mcp", "A"], []]), (False, [["mcp"], ["A"]])])
def test_whether_the_model_speaks_after_a_hosted_tool_is_an_option(speaks: bool, turns: list[list[str]]) -> None:
    script = Script(parse_script([{"mcp": {"server_label": "s", "name": "n"}}, {"model": "A"}]))
    assert [take(script, speaks_after_mcp=speaks) for _ in range(2)] == turns


def test_tools_that_are_not_allowed_are_stepped_over() -> None:
    script = Script(parse_script([{"tool": "f"}, {"mcp": {"server_label": "s", "name": "n"}}, {"model": "A"}]))
    assert take(script, tools_allowed=False) == ["A"]


def test_arguments_may_be_written_as_the_model_wrote_them() -> None:
    tools = parse_script([{"tool": "f", "arguments": '{"a": '}, {"tool": "f", "arguments": {"a": 1}}])
    assert [tool.arguments_json for tool in tools if isinstance(tool, Tool)] == ['{"a": ', '{"a":1}']


def test_options_change_all_or_none() -> None:
    options = Options()
    with pytest.raises(ValueError, match="speed"):
        options.change({"patience_seconds": 1, "speed": 0})
    assert options.patience_seconds == Options().patience_seconds
    options.change({"patience_seconds": 1, "speed": 5})
    assert (options.patience_seconds, options.speed) == (1, 5)


def test_a_webhook_needs_a_secret() -> None:
    with pytest.raises(ValueError, match="whsec_"):
        Options(webhook_url="http://127.0.0.1:1/")
