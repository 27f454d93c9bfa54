"""What the demo looks for in a call, and what it says of it."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from emulator.demo import Check, greetings, summarise, tools_answered
from emulator.openai import Call
from emulator.openai.log import Log

CREATE = "response.create"


def call_with(*frames: tuple[str, dict[str, Any]]) -> Call:
    """Make a call in whose log these frames are: those of a client are named by their type alone."""
    log = Log(keep=100)
    for type_, payload in frames:
        log.add("frame_out" if type_.endswith(".done") else "frame_in", type_, payload)
    return cast("Call", SimpleNamespace(log=log))


def called(tool_call_id: str, name: str = "order_status") -> tuple[str, dict[str, Any]]:
    return "response.function_call_arguments.done", {"call_id": tool_call_id, "name": name}


def answered(tool_call_id: str) -> tuple[str, dict[str, Any]]:
    item = {"type": "function_call_output", "call_id": tool_call_id}
    return "conversation.item.create", {"item": item}


def test_greetings() -> None:
    """Responses with instructions are greetings; those that let the model go on are none."""
    call = call_with((CREATE, {"response": {"instructions": "Greet."}}), (CREATE, {"response": {}}), (CREATE, {}))
    assert greetings(call) == 1


@pytest.mark.parametrize(
    ("frames", "as_it_should_be"),
    [
        ([called("c1"), answered("c1")], True),
        ([called("c1"), answered("c1"), called("c2", "hang_up")], True),
        ([called("c1")], False),
        ([called("c1"), answered("c1"), answered("c1")], False),
        ([called("c1"), answered("c2")], False),
        ([], False),
    ],
    ids=["answered", "hang-up needs no answer", "unanswered", "answered twice", "another answered", "no call"],
)
def test_tools_answered(frames: list[tuple[str, dict[str, Any]]], as_it_should_be: bool) -> None:
    """Each tool call has exactly one answer, and there is one at all."""
    assert tools_answered(call_with(*frames)) is as_it_should_be


@pytest.mark.parametrize("holds", [True, False])
def test_summarise(holds: bool) -> None:
    """The last line says whether everything happened that should."""
    console = Console(file=StringIO(), width=120)
    summarise(console, [Check("each greeted once", holds=True), Check("taken over", holds=holds, detail="1.5 s")])
    shown = cast("StringIO", console.file).getvalue()
    assert ("All of it happened." in shown) is holds
    assert ("NO" in shown) is not holds
    assert "1.5 s" in shown
