"""The oracle notices each kind of violation, in logs made by hand."""

from collections.abc import Mapping
from typing import Any

import pytest

from emulator.openai import Entry
from supervisor.records import CallRecord, EndReason
from tests.chaos.oracle import Disturbance, Judgement, judge, percentile

A, B = "sideband-supervisor (host-11)", "sideband-supervisor (host-22)"


class Log:
    """A call's log, written a line at a time."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(
        self, at: float, kind: Any, type_: str, who: str = "stand-in", attach: int | None = None, **payload: Any
    ) -> "Log":
        event = {"event_id": f"e{len(self.entries)}", **payload}
        self.entries.append(Entry(len(self.entries) + 1, at, at, "rtc_1", kind, type_, who, 1, attach, event))
        return self

    def tool_call(self, at: float, who: str, attach: int) -> "Log":
        item = {"type": "function_call", "status": "completed", "call_id": "call_1"}
        return self.add(at, "frame_out", "response.output_item.done", who, attach, item=item)

    def output(self, at: float, who: str, attach: int, *, kept: bool = True) -> "Log":
        item = {"type": "function_call_output", "call_id": "call_1"}
        self.add(at, "frame_in", "conversation.item.create", who, attach, item=item)
        return self.add(at, "frame_out", "conversation.item.done", who, attach, item=item) if kept else self


def judged(
    log: Log,
    *disturbances: Disturbance,
    effects: tuple[str, ...] = (),
    end_reason: EndReason | None = EndReason.CALLER_HUNG_UP,
    claims: Mapping[int, int] | None = None,
) -> Judgement:
    record = CallRecord(call_id="rtc_1", message_id="1", end_reason=end_reason)
    return judge(
        {"rtc_1": log.entries}, effects, {"rtc_1": record}, disturbances, {"rtc_1": claims or {}}, lease_seconds=10
    )


def fine() -> Log:
    log = Log().add(0, "attach", "attach", A, 1).tool_call(1, A, 1).output(2, A, 1)
    return log.add(60, "end", "caller_hung_up")


def test_a_call_without_fault_passes() -> None:
    judgement = judged(fine(), effects=("once rtc_1:call_1 11 0.0",))
    assert judgement.passed
    assert judgement.violations == []


def test_a_frame_of_the_last_owner_after_one_of_the_next_is_two_writers() -> None:
    log = Log().add(0, "attach", "attach", A, 1).add(1, "attach", "attach", B, 2)
    log.add(2, "frame_in", "session.update", B, 2).add(3, "frame_in", "response.create", A, 1)
    assert judged(log.add(60, "end", "caller_hung_up")).counters["two_writers"] == 1


def test_a_frame_of_the_last_owner_before_the_next_has_written_is_not() -> None:
    log = Log().add(0, "attach", "attach", A, 1).add(1, "attach", "attach", B, 2)
    log.add(2, "frame_in", "response.create", A, 1).add(3, "frame_in", "session.update", B, 2)
    assert judged(log.add(60, "end", "caller_hung_up")).passed


def test_a_tool_call_that_was_heard_and_not_answered() -> None:
    log = Log().add(0, "attach", "attach", A, 1).tool_call(1, A, 1).add(60, "end", "caller_hung_up")
    assert judged(log).counters["unanswered_tools"] == 1


def test_a_tool_call_that_was_answered_twice() -> None:
    log = Log().add(0, "attach", "attach", A, 1).tool_call(1, A, 1).output(2, A, 1).output(3, A, 1)
    assert judged(log.add(60, "end", "caller_hung_up")).counters["unanswered_tools"] == 1


def test_a_second_output_that_was_refused_is_counted_and_no_violation() -> None:
    log = Log().add(0, "attach", "attach", A, 1).tool_call(1, A, 1).output(2, A, 1).output(3, A, 1, kept=False)
    judgement = judged(log.add(60, "end", "caller_hung_up"))
    assert judgement.passed
    assert judgement.refused_outputs == 1


def test_a_tool_call_in_a_call_that_ended_soon_needs_no_answer() -> None:
    log = Log().add(0, "attach", "attach", A, 1).tool_call(1, A, 1).add(5, "end", "caller_hung_up")
    assert judged(log).passed


def test_a_tool_call_at_the_moment_of_a_kill_is_unheard_and_must_be_followed_by_something() -> None:
    kill = Disturbance("kill", 11, 1.2, 1.2)
    silent = Log().add(0, "attach", "attach", A, 1).tool_call(1, A, 1).add(60, "end", "caller_hung_up")
    assert judged(silent, kill).counters["unanswered_tools"] == 1
    went_on = Log().add(0, "attach", "attach", A, 1).tool_call(1, A, 1).add(11, "attach", "attach", B, 2)
    went_on.add(15, "frame_out", "response.created", B, 2).add(60, "end", "caller_hung_up")
    judgement = judged(went_on, kill)
    assert judgement.passed
    assert judgement.unheard_tools == 1


def test_a_side_effect_that_happened_twice() -> None:
    twice = ("once rtc_1:call_1 11 0.0", "once rtc_1:call_1 22 9.0")
    assert judged(fine(), effects=twice).counters["double_side_effects"] == 1
    assert judged(fine(), effects=tuple(line.replace("once", "again") for line in twice)).passed


def test_two_greetings() -> None:
    log = Log().add(0, "attach", "attach", A, 1)
    for at in (1, 2):
        log.add(at, "frame_in", "response.create", A, 1, response={"instructions": "Greet."})
    assert judged(log.add(60, "end", "caller_hung_up")).counters["double_greetings"] == 1


@pytest.mark.parametrize(
    ("end", "end_reason"),
    [
        ("gave_up", EndReason.MISSED),
        ("caller_hung_up", None),
        ("caller_hung_up", EndReason.UNREACHABLE),
    ],
)
def test_a_call_that_was_lost(end: str, end_reason: EndReason | None) -> None:
    log = Log().add(0, "attach", "attach", A, 1).add(60, "end", end)
    assert judged(log, end_reason=end_reason).counters["lost"] == 1


def test_a_call_that_never_ended() -> None:
    assert judged(Log().add(0, "attach", "attach", A, 1)).counters["lost"] == 1


def test_gaps_are_told_apart() -> None:
    crash = Log().add(0, "attach", "attach", A, 1).add(11, "attach", "attach", B, 2).add(60, "end", "caller_hung_up")
    kill = Disturbance("kill", 11, 3.0, 3.0)
    assert judged(crash, kill, claims={11: 1, 22: 2}).crash_gaps_ms == [8000]
    assert judged(crash, kill, claims={11: 1, 22: 3}).double_fault_gaps_ms == [8000]
    handover = (
        Log().add(0, "attach", "attach", A, 1).add(5, "detach", "detach", A, 1).add(5.2, "attach", "attach", B, 2)
    )
    handover.add(60, "end", "caller_hung_up")
    (gap_ms,) = judged(handover, Disturbance("restart", 11, 3.0, 6.0)).handover_gaps_ms
    assert gap_ms == pytest.approx(200)


def test_percentiles() -> None:
    assert percentile([], 0.99) is None
    assert percentile(list(range(100)), 0.99) == 99
    assert percentile([5.0], 0.5) == 5
