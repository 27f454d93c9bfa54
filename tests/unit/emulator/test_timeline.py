"""What the timeline prints: a line for each thing that a person would want to see."""

from __future__ import annotations

from io import StringIO
from typing import Any, cast

import pytest
from rich.console import Console

from emulator.openai.log import Kind, Log
from emulator.system import Process
from emulator.timeline import Timeline, _shown


class FakeProcess:
    """Stands in for a process that runs."""

    name, pid = "supervisor-1", 4711


PROCESS = cast("Process", FakeProcess())


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(Console(file=StringIO(), width=200))


def printed(timeline: Timeline) -> list[list[str]]:
    """Give the words of each line that was printed, but for the seconds."""
    file = cast("StringIO", timeline.console.file)
    return [line.split()[1:] for line in file.getvalue().splitlines()]


def test_calls_have_numbers(timeline: Timeline) -> None:
    """Each call has a number of its own, in the order in which they came."""
    for call_id in ("rtc_b", "rtc_a", "rtc_b", None):
        timeline.line(call_id, "caller", "dials")
    assert printed(timeline) == [
        [*words, "caller", "dials"] for words in (["call", "1"], ["call", "2"], ["call", "1"], [])
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ({"message": "Published a call", "call_id": "rtc_1"}, "notice published to Pub/Sub"),
        ({"message": "claimed", "call_id": "rtc_1", "delivery_attempt": 1}, "claimed"),
        ({"message": "claimed", "call_id": "rtc_1", "delivery_attempt": 2}, "claimed (delivery 2)"),
        ({"message": "ended", "call_id": "rtc_1", "reason": "missed"}, "settled: missed"),
        ({"message": "[tool] failed", "severity": "ERROR"}, "[tool] failed"),
        ({"message": "attached", "call_id": "rtc_1", "severity": "INFO"}, None),
    ],
    ids=["published", "claimed", "claimed again", "ended", "error", "anything else"],
)
def test_lines_of_processes(timeline: Timeline, line: dict[str, Any], text: str | None) -> None:
    """Of what a process logs, the steps of a call and all errors are printed, under its name."""
    timeline.on_log(PROCESS, line)
    lines = [" ".join(words) for words in printed(timeline)]
    assert len(lines) == (text is not None)
    assert all("supervisor-1" in one and str(text) in one for one in lines)


@pytest.mark.parametrize(
    ("kind", "type_", "payload", "text"),
    [
        ("placed", "sip", {}, "dials"),
        ("rest", "accept", {"status": 200}, "accept: 200"),
        ("attach", "101", {}, "sideband attached"),
        ("end", "hangup", {}, "the call ends: hangup"),
        ("frame_in", "response.create", {"response": {"instructions": "Greet."}}, "greets"),
        ("frame_in", "response.create", {"response": {}}, None),
        ("frame_in", "conversation.item.create", {"item": {"type": "message"}}, None),
        (
            "frame_out",
            "response.function_call_arguments.done",
            {"name": "pay", "arguments": '{"eur":\n 5}'},
            'calls pay {"eur": 5}',
        ),
        ("frame_lost", "response.output_audio_transcript.done", {"transcript": "Hello."}, "“Hello.”"),
        ("frame_out", "response.output_audio.delta", {}, None),
    ],
)
def test_entries_of_the_log(kind: Kind, type_: str, payload: dict[str, Any], text: str | None) -> None:
    """Of what OpenAI's side sees, what a person would want to see has its words."""
    shown = _shown(Log(keep=10).add(kind, type_, payload))
    assert (shown.text if shown else None) == text


def test_copies_are_printed_once(timeline: Timeline) -> None:
    """An event that goes to several sockets is printed once; events without an id are all printed."""
    log = Log(keep=10)
    copies = [log.add("frame_out", "x", {"event_id": "event_1"}) for _ in range(2)]
    others = [log.add("rest", "accept", {}) for _ in range(2)]
    assert [timeline._is_new(entry) for entry in (*copies, *others)] == [True, False, True, True]


def test_who_wrote(timeline: Timeline) -> None:
    """A request has the name of the process whose id ends its User-Agent."""
    timeline.name(PROCESS)
    log = Log(keep=10)
    ours = log.add("rest", "accept", {}, who="sideband/1 (supervisor-4711)")
    other = log.add("rest", "accept", {}, who="curl/8")
    assert (timeline._writer(ours), timeline._writer(other)) == ("supervisor-1", None)
