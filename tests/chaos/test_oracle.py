"""The oracle notices each kind of violation, in logs made by hand; and what is none, it lets pass."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from emulator.openai import Entry
from supervisor.outcomes import EndReason
from supervisor.records.record import CallRecord, Segment
from tests.chaos.evidence import Disturbance, Effect, Evidence, Stop, pid_of, read_effects
from tests.chaos.oracle import COUNTERS, Judgement, Violation, judge
from tests.chaos.report import EXCERPT_AFTER, EXCERPT_BEFORE, as_json, excerpt, percentile, show

A, B = "sideband-supervisor (host-11)", "sideband-supervisor (host-22)"
CALL, TOOL = "rtc_1", "call_1"
PAID = Effect("pay", CALL, TOOL, 11)


class Log:
    """A call's log, written a line at a time; it was accepted at 0."""

    def __init__(self, *, accepted: bool = True) -> None:
        self.entries: list[Entry] = []
        self.add(0, "placed", "sip")
        if accepted:
            self.add(0, "rest", "accept", A, status=200, applied=True, faulty=False)

    def add(
        self, at: float, kind: Any, type_: str, who: str = "stand-in", attach: int | None = None, **payload: Any
    ) -> Log:
        event = {"event_id": f"e{len(self.entries)}", **payload}
        self.entries.append(Entry(len(self.entries) + 1, at, at, CALL, kind, type_, who, 1, attach, event))
        return self

    def attach(self, at: float, who: str, attach: int) -> Log:
        return self.add(at, "attach", "attach", who, attach)

    def detach(self, at: float, who: str, attach: int) -> Log:
        return self.add(at, "detach", "detach", who, attach)

    def writes(self, at: float, who: str, attach: int, **response: Any) -> Log:
        return self.add(at, "frame_in", "response.create", who, attach, response=response)

    def tool_call(self, at: float, who: str = "stand-in", attach: int | None = None) -> Log:
        item = {"type": "function_call", "status": "completed", "name": "pay", "call_id": TOOL}
        kind = "frame_out" if attach else "frame_lost"
        return self.add(at, kind, "response.output_item.done", who, attach, item=item)

    def output(self, at: float, who: str, attach: int, *, said: str = "paid", kept: bool = True) -> Log:
        item = {"type": "function_call_output", "call_id": TOOL, "output": said}
        self.add(at, "frame_in", "conversation.item.create", who, attach, item=item)
        return self.add(at, "frame_out", "conversation.item.done", who, attach, item=item) if kept else self

    def says(self, at: float, who: str, attach: int, item_id: str) -> Log:
        type_ = "response.output_audio_transcript.done"
        return self.add(at, "frame_out", type_, who, attach, item_id=item_id, transcript="Hello.")

    def end(self, at: float = 60, reason: str = "caller_hung_up") -> Log:
        return self.add(at, "end", reason)


def evidence_of(
    log: Log,
    *disturbances: Disturbance,
    effects: tuple[Effect, ...] = (PAID,),
    end_reason: EndReason | None = EndReason.CALLER_HUNG_UP,
    **more: Any,
) -> Evidence:
    record = CallRecord(
        call_id=CALL,
        message_id="1",
        end_reason=end_reason,
        state={f"{CALL}:{TOOL}": "done"},
        transcript=[Segment(item_id="item_1", role="agent", text="Hello.", at=1)],
    )
    given = {"records": {CALL: record}, "effects": effects, "disturbances": disturbances, **more}
    return Evidence(lease_seconds=10, logs={CALL: log.entries}, **given)


def judged(log: Log, *disturbances: Disturbance, **more: Any) -> Judgement:
    return judge(evidence_of(log, *disturbances, **more))


def found(judgement: Judgement) -> dict[str, int]:
    """The counters that are not 0."""
    return {name: count for name, count in judgement.counters.items() if count}


def held_by_a() -> Log:
    return Log().attach(0, A, 1)


def test_a_call_without_fault_passes() -> None:
    log = held_by_a().writes(0, A, 1, instructions="Greet.").says(1, A, 1, "item_1")
    judgement = judged(log.tool_call(2, A, 1).output(3, A, 1).end())
    assert judgement.passed
    assert set(judgement.counters) == set(COUNTERS)
    assert judgement.tool_calls == 1


def test_a_frame_of_the_last_owner_after_one_of_the_next_is_two_writers() -> None:
    log = held_by_a().attach(1, B, 2).add(2, "frame_in", "session.update", B, 2).writes(3, A, 1)
    assert found(judged(log.end())) == {"two_writers": 1}


def test_a_frame_of_the_last_owner_before_the_next_has_written_is_not() -> None:
    log = held_by_a().attach(1, B, 2).writes(2, A, 1).add(3, "frame_in", "session.update", B, 2)
    assert judged(log.end()).passed


def test_a_tool_call_that_was_heard_and_not_answered() -> None:
    assert found(judged(held_by_a().tool_call(1, A, 1).end())) == {"unanswered_tools": 1}


def test_a_tool_call_whose_next_owner_had_time_to_answer_it() -> None:
    """The first owner heard it and died; the second had the call for long."""
    log = held_by_a().tool_call(1, A, 1).detach(5, A, 1).attach(14, B, 2)
    kill = Disturbance("kill", 11, 5)
    assert found(judged(log.end(40), kill)) == {"unanswered_tools": 1}
    late = held_by_a().tool_call(1, A, 1).detach(5, A, 1).attach(14, B, 2)
    assert judged(late.end(20), kill).passed, "too short a time to expect an answer"


def test_a_tool_call_that_was_answered_twice() -> None:
    log = held_by_a().tool_call(1, A, 1).output(2, A, 1).output(3, A, 1)
    assert found(judged(log.end())) == {"unanswered_tools": 1}


def test_a_second_output_that_was_refused_is_counted_and_no_violation() -> None:
    judgement = judged(held_by_a().tool_call(1, A, 1).output(2, A, 1).output(3, A, 1, kept=False).end())
    assert judgement.passed
    assert judgement.refused_outputs == 1


def test_a_tool_call_in_a_call_that_ended_soon_needs_no_answer() -> None:
    assert judged(held_by_a().tool_call(1, A, 1).end(5)).passed


def test_a_tool_call_that_nobody_heard_must_not_be_followed_by_silence() -> None:
    kill = Disturbance("kill", 11, 1.2)
    silent = held_by_a().tool_call(1, A, 1).detach(1.2, A, 1).attach(9, B, 2)
    assert found(judged(silent.end(), kill)) == {"unanswered_tools": 1}
    went_on = held_by_a().tool_call(1, A, 1).detach(1.2, A, 1).attach(9, B, 2)
    judgement = judged(went_on.add(13, "frame_out", "response.created", B, 2).end(), kill)
    assert judgement.passed
    assert judgement.unheard_tools == 1


@pytest.mark.parametrize("struck_at", [1.0, 2.0])
def test_a_frozen_owner_does_not_hear(struck_at: float) -> None:
    log = held_by_a().tool_call(1.5, A, 1).attach(12, B, 2).add(16, "frame_out", "response.created", B, 2)
    assert judged(log.end(), Disturbance("freeze", 11, struck_at, struck_at + 14)).passed


def test_a_hiccup_of_pubsub_excuses_nothing_within_a_call() -> None:
    log = held_by_a().tool_call(1.5, A, 1)
    assert found(judged(log.end(), Disturbance("hiccup", 11, 1, 3))) == {"unanswered_tools": 1}


def test_a_side_effect_that_happened_twice() -> None:
    log = held_by_a().tool_call(1, A, 1).output(2, A, 1).end()
    assert found(judged(log, effects=(PAID, Effect("pay", CALL, TOOL, 22)))) == {"double_side_effects": 1}
    look = Effect("look", CALL, TOOL, 11)
    assert judged(log, effects=(look, look)).passed, "an idempotent tool may run again"


def test_a_side_effect_that_was_told_of_and_never_happened() -> None:
    log = held_by_a().tool_call(1, A, 1).output(2, A, 1).end()
    assert found(judged(log, effects=())) == {"lost_side_effects": 1}


def test_state_that_lacks_what_was_answered() -> None:
    record = CallRecord(call_id=CALL, message_id="1", end_reason=EndReason.CALLER_HUNG_UP)
    log = held_by_a().tool_call(1, A, 1).output(2, A, 1).end()
    assert found(judged(log, records={CALL: record})) == {"lost_state": 1}


def test_words_that_are_not_in_the_transcript() -> None:
    assert found(judged(held_by_a().says(1, A, 1, "item_2").end())) == {"lost_words": 1}
    struck = held_by_a().says(1, A, 1, "item_2").detach(1.5, A, 1).attach(9, B, 2)
    assert judged(struck.end(), Disturbance("kill", 11, 1.5)).passed, "there was no time to write them"


def test_two_greetings() -> None:
    log = held_by_a().writes(1, A, 1, instructions="Greet.").writes(2, A, 1, instructions="Greet.")
    assert found(judged(log.end())) == {"double_greetings": 1}


@pytest.mark.parametrize(
    ("end", "end_reason"),
    [
        ("caller_hung_up", None),
        ("caller_hung_up", EndReason.UNREACHABLE),
        ("caller_hung_up", EndReason.MISSED),
        ("hangup", EndReason.CALLER_HUNG_UP),
    ],
)
def test_a_record_that_does_not_end_as_the_call_did(end: str, end_reason: EndReason | None) -> None:
    assert found(judged(held_by_a().end(60, end), end_reason=end_reason)) == {"lost": 1}


def test_a_caller_whom_nobody_answered_is_lost() -> None:
    log = Log(accepted=False).end(30, "gave_up")
    assert found(judged(log, end_reason=EndReason.MISSED)) == {"lost": 1}


def test_a_caller_who_left_before_the_accept_was_missed() -> None:
    log = Log(accepted=False).end(3)
    assert judged(log, end_reason=EndReason.MISSED).passed
    assert found(judged(log, end_reason=EndReason.CALLER_HUNG_UP)) == {"lost": 1}


def test_who_hung_up_may_be_unknown_to_the_next_owner() -> None:
    log = held_by_a().detach(5.2, A, 1).end(5, "hangup")
    assert judged(log, Disturbance("kill", 11, 5.1), end_reason=EndReason.CALLER_HUNG_UP).passed


def test_a_call_that_never_ended() -> None:
    assert found(judged(held_by_a())) == {"lost": 1}


def test_a_record_that_was_ended_by_two() -> None:
    line = {"message": "ended", "call_id": CALL}
    assert found(judged(held_by_a().end(), said={11: [line], 22: [line]})) == {"lost": 1}


def test_a_living_call_that_nobody_takes_over_is_lost() -> None:
    kill = Disturbance("kill", 11, 5)
    assert found(judged(held_by_a().detach(5, A, 1).end(19), kill)) == {"lost": 1}
    assert judged(held_by_a().detach(5, A, 1).end(16), kill).passed, "its lease had not run out for long enough"
    assert found(judged(held_by_a().detach(5, A, 1).attach(25, B, 2).end(), kill)) == {"lost": 1}


def test_a_frozen_owner_owns_nothing_though_its_socket_stays() -> None:
    freeze = Disturbance("freeze", 11, 5, 40)
    assert found(judged(held_by_a().end(), freeze)) == {"lost": 1}


def test_a_further_fault_while_nobody_has_the_call_excuses_one_more_lease() -> None:
    kills = (Disturbance("kill", 11, 5), Disturbance("kill", 22, 14))
    assert judged(held_by_a().detach(5, A, 1).attach(24, B, 2).end(), *kills).passed
    refused = held_by_a().detach(5, A, 1).add(14, "refused", "503", B).attach(24, B, 2)
    assert judged(refused.end(), kills[0]).passed


@pytest.mark.parametrize(
    ("stop", "crashes"),
    [
        (Stop(11, 0, 8.5, told=True), 0),
        (Stop(11, None, None, told=True), 0),
        (Stop(11, 0, 11.0, told=True), 1),
        (Stop(11, 1, 2.0, told=True), 1),
        (Stop(11, None, 20.0, told=True), 1),
        (Stop(11, 1, None, told=False), 1),
    ],
)
def test_how_processes_may_end(stop: Stop, crashes: int) -> None:
    assert judged(held_by_a().end(), stops=[stop]).counters["crashes"] == crashes


def test_a_process_that_ended_by_itself_is_asked_why() -> None:
    said = {11: [{"message": "started"}, {"message": "    | KeyError: 'item'"}, {"message": "    +----"}]}
    (violation,) = judged(held_by_a().end(), said=said, stops=[Stop(11, 1, None, told=False)]).violations
    assert violation.what == "supervisor 11 ended by itself with status 1: KeyError: 'item'"


def test_a_call_that_a_bug_failed() -> None:
    line = {"message": "call_failed", "call_id": CALL, "exception": "Traceback\nKeyError: 'item'"}
    (violation,) = judged(held_by_a().end(), said={11: [line]}).violations
    assert violation.counter == "crashes"
    assert "KeyError" in violation.what


def claimed(attempt: int) -> list[dict[str, Any]]:
    return [{"message": "claimed", "call_id": CALL, "delivery_attempt": attempt}]


def test_gaps_are_told_apart() -> None:
    crash = held_by_a().detach(3, A, 1).attach(11, B, 2).end()
    kill = Disturbance("kill", 11, 3)
    (gap,) = judged(crash, kill, said={11: claimed(1), 22: claimed(2)}).gaps
    assert (gap.change, gap.ms) == ("crash", 8000)
    (gap,) = judged(crash, kill, said={11: claimed(1), 22: claimed(3)}).gaps
    assert gap.change == "double_fault"
    (gap,) = judged(crash, kill, Disturbance("stall", 22, 9, 10)).gaps
    assert gap.change == "double_fault"
    (gap,) = judged(held_by_a().detach(3, A, 1).add(10, "refused", "503", B).attach(11, B, 2).end(), kill).gaps
    assert gap.change == "double_fault"
    (gap,) = judged(crash).gaps
    assert (gap.change, gap.ms) == ("other", 8000)


def test_a_hand_over_is_timed_from_the_last_sign_that_the_owner_had_the_call() -> None:
    restart = Disturbance("restart", 11, 3)
    quiet = held_by_a().attach(3.2, B, 2).detach(3.4, A, 1).end()
    (gap,) = judged(quiet, restart).gaps
    assert gap.change == "handover"
    assert gap.ms == pytest.approx(200)
    busy = held_by_a().writes(4, A, 1).attach(4.1, B, 2).detach(4.2, A, 1).end()
    (gap,) = judged(busy, restart).gaps
    assert gap.ms == pytest.approx(100)
    finishing = held_by_a().attach(7, B, 2).detach(7.2, A, 1).end()
    left = {11: claimed(1), 22: [{**claimed(2)[0], "handed_over_at": finishing.entries[0].unix_seconds + 6.8}]}
    (gap,) = judged(finishing, restart, said=left).gaps
    assert gap.ms == pytest.approx((7 - finishing.entries[0].monotonic_seconds - 6.8) * 1000)


def test_a_socket_that_its_own_process_replaces_is_no_change_of_owner() -> None:
    assert judged(held_by_a().detach(3, A, 1).attach(3.1, A, 2).end()).gaps == []


def test_effects_and_names_are_read() -> None:
    assert read_effects(["pay rtc_1:call_1 11"]) == [PAID]
    assert pid_of(A) == 11
    assert pid_of("stand-in") == 0


def test_the_report_shows_the_moment_of_each_violation_and_no_more() -> None:
    log = held_by_a()
    for number in range(40):
        log.writes(1 + number, A, 1)
    evidence = evidence_of(log.end(), Disturbance("stall", 11, 19.5, 20.5))
    violation = Violation("two_writers", CALL, "something", 20)
    lines = list(excerpt(violation, evidence))
    assert len(lines) <= EXCERPT_BEFORE + EXCERPT_AFTER + 2
    assert any("20.000" in line for line in lines)
    assert any("stall 11" in line for line in lines)
    console = Console(record=True, width=120, file=None, quiet=False)
    with console.capture() as shown:
        show(console, Judgement(1, violations=[violation] * 12), evidence)
    assert "2 more" in shown.get()


def test_the_line_for_machines_has_the_counters_and_the_gaps() -> None:
    crash = held_by_a().detach(3, A, 1).attach(11, B, 2).end()
    line = as_json(judged(crash, Disturbance("kill", 11, 3)))
    expected = {"calls": 1, "lost": 0, "two_writers": 0, "gap_ms_crash_p99": 8000.0, "gap_ms_handover_p99": None}
    assert line.items() >= expected.items()


def test_percentiles() -> None:
    assert percentile([], 0.99) is None
    assert percentile(list(range(100)), 0.99) == 99
    assert percentile([5.0], 0.5) == 5
