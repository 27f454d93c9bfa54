"""The oracle notices each kind of violation, in logs written by hand; and what is none, it lets pass."""

from __future__ import annotations

import pytest

from supervisor.outcomes import EndReason
from supervisor.records.record import CallRecord
from tests.chaos.evidence import Disturbance, Effect, Stop
from tests.chaos.oracle import COUNTERS
from tests.chaos.written_logs import CALL, PAID, TOOL, A, B, Log, found, held_by_a, judged


def test_a_good_call_passes() -> None:
    """A call in which nothing went wrong passes, and every counter is shown."""
    log = held_by_a().writes(0, A, 1, instructions="Greet.").says(1, A, 1, "item_1")
    judgement = judged(log.tool_call(2, A, 1).output(3, A, 1).end())
    assert judgement.passed
    assert set(judgement.counters) == set(COUNTERS)
    assert judgement.tool_calls == 1


def test_two_writers() -> None:
    """A frame of the last owner after the first one of the next counts as two writers."""
    log = held_by_a().attach(1, B, 2).add(2, "frame_in", "session.update", B, 2).writes(3, A, 1)
    assert found(judged(log.end())) == {"two_writers": 1}


def test_one_writer_after_the_other() -> None:
    """A frame of the last owner is allowed until the next one has written."""
    log = held_by_a().attach(1, B, 2).writes(2, A, 1).add(3, "frame_in", "session.update", B, 2)
    assert judged(log.end()).passed


def test_a_tool_call_never_answered() -> None:
    """A tool call that an owner heard must be answered."""
    assert found(judged(held_by_a().tool_call(1, A, 1).end())) == {"unanswered_tools": 1}


def test_a_tool_call_left_to_the_next() -> None:
    """Where the owner that heard it died, the next one must answer it, if it had the call for long enough."""
    log = held_by_a().tool_call(1, A, 1).detach(5, A, 1).attach(14, B, 2)
    kill = Disturbance("kill", 11, 5)
    assert found(judged(log.end(40), kill)) == {"unanswered_tools": 1}
    late = held_by_a().tool_call(1, A, 1).detach(5, A, 1).attach(14, B, 2)
    assert judged(late.end(20), kill).passed, "too short a time to expect an answer"


def test_a_tool_call_answered_twice() -> None:
    """Two outputs that OpenAI took are one too many."""
    log = held_by_a().tool_call(1, A, 1).output(2, A, 1).output(3, A, 1)
    assert found(judged(log.end())) == {"unanswered_tools": 1}


def test_a_refused_second_output() -> None:
    """A second output that OpenAI refused is counted, and is no violation."""
    judgement = judged(held_by_a().tool_call(1, A, 1).output(2, A, 1).output(3, A, 1, taken=False).end())
    assert judgement.passed
    assert judgement.refused_outputs == 1


def test_a_call_that_ended_soon() -> None:
    """A tool call shortly before the call's end needs no answer."""
    assert judged(held_by_a().tool_call(1, A, 1).end(5)).passed


def test_a_tool_call_nobody_heard() -> None:
    """A tool call that no owner heard needs no answer, but the model must be brought to go on."""
    kill = Disturbance("kill", 11, 1.2)
    silent = held_by_a().tool_call(1, A, 1).detach(1.2, A, 1).attach(9, B, 2)
    assert found(judged(silent.end(), kill)) == {"unanswered_tools": 1}
    went_on = held_by_a().tool_call(1, A, 1).detach(1.2, A, 1).attach(9, B, 2)
    judgement = judged(went_on.add(13, "frame_out", "response.created", B, 2).end(), kill)
    assert judgement.passed
    assert judgement.unheard_tools == 1


@pytest.mark.parametrize("struck_at", [1.0, 2.0])
def test_a_frozen_owner_hears_nothing(struck_at: float) -> None:
    """What is sent to a frozen owner was not heard."""
    log = held_by_a().tool_call(1.5, A, 1).attach(12, B, 2).add(16, "frame_out", "response.created", B, 2)
    assert judged(log.end(), Disturbance("freeze", 11, struck_at, struck_at + 14)).passed


def test_a_hiccup_is_no_excuse() -> None:
    """Pub/Sub out of reach for less than a lease excuses nothing within a call."""
    log = held_by_a().tool_call(1.5, A, 1)
    assert found(judged(log.end(), Disturbance("hiccup", 11, 1, 3))) == {"unanswered_tools": 1}


def test_a_side_effect_twice() -> None:
    """A tool with side effects may act once for each tool call; an idempotent one as often as it likes."""
    log = held_by_a().tool_call(1, A, 1).output(2, A, 1).end()
    assert found(judged(log, effects=(PAID, Effect("pay", CALL, TOOL, 22)))) == {"double_side_effects": 1}
    look = Effect("look", CALL, TOOL, 11)
    assert judged(log, effects=(look, look)).passed, "an idempotent tool may run again"


def test_a_side_effect_never() -> None:
    """What the model was told is done must have been done."""
    log = held_by_a().tool_call(1, A, 1).output(2, A, 1).end()
    assert found(judged(log, effects=())) == {"lost_side_effects": 1}


def test_state_that_lacks_an_answer() -> None:
    """What was answered as done must be in the agent's state."""
    record = CallRecord(call_id=CALL, message_id="1", end_reason=EndReason.CALLER_HUNG_UP)
    log = held_by_a().tool_call(1, A, 1).output(2, A, 1).end()
    assert found(judged(log, records={CALL: record})) == {"lost_state": 1}


def test_words_not_in_the_transcript() -> None:
    """What an owner heard, and had time to write, must be in the transcript."""
    assert found(judged(held_by_a().says(1, A, 1, "item_2").end())) == {"lost_words": 1}
    struck = held_by_a().says(1, A, 1, "item_2").detach(1.5, A, 1).attach(9, B, 2)
    assert judged(struck.end(), Disturbance("kill", 11, 1.5)).passed, "there was no time to write them"


def test_two_greetings() -> None:
    """A caller is greeted once."""
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
def test_a_record_with_another_end(end: str, end_reason: EndReason | None) -> None:
    """The record must end, and with the reason that the call ended for."""
    assert found(judged(held_by_a().end(60, end), end_reason=end_reason)) == {"lost": 1}


def test_an_unanswered_caller() -> None:
    """A caller who gave up is lost, whatever the record says."""
    log = Log(accepted=False).end(30, "gave_up")
    assert found(judged(log, end_reason=EndReason.MISSED)) == {"lost": 1}


def test_a_caller_who_left_at_once() -> None:
    """A caller who left before the accept was missed, and nothing else."""
    log = Log(accepted=False).end(3)
    assert judged(log, end_reason=EndReason.MISSED).passed
    assert found(judged(log, end_reason=EndReason.CALLER_HUNG_UP)) == {"lost": 1}


def test_who_hung_up_may_be_unknown() -> None:
    """Where an owner hung up and died, the next one may take it for the caller."""
    log = held_by_a().detach(5.2, A, 1).end(5, "hangup")
    assert judged(log, Disturbance("kill", 11, 5.1), end_reason=EndReason.CALLER_HUNG_UP).passed


def test_a_call_without_an_end() -> None:
    """A call that has not ended when the run is over is lost."""
    assert found(judged(held_by_a())) == {"lost": 1}


def test_a_record_ended_twice() -> None:
    """Only one process may say that it ended a record."""
    line = {"message": "ended", "call_id": CALL}
    assert found(judged(held_by_a().end(), log_lines={11: [line], 22: [line]})) == {"lost": 1}


@pytest.mark.parametrize(
    ("stop", "crashes"),
    [
        (Stop(11, 0, planned=True, stopping=(20, 28.5)), 0),
        (Stop(11, None, planned=True), 0),
        (Stop(11, 0, planned=True, stopping=(20, 31)), 1),
        (Stop(11, 1, planned=True, stopping=(20, 22)), 1),
        (Stop(11, None, planned=True, stopping=(20, 40)), 1),
        (Stop(11, 1, planned=False), 1),
    ],
)
def test_how_processes_may_end(stop: Stop, crashes: int) -> None:
    """A process may be killed, or stop with status 0 within 10 s of SIGTERM; all else is a crash."""
    assert judged(held_by_a().end(), stops=[stop]).counters["crashes"] == crashes


def test_why_a_process_ended() -> None:
    """A process that ended by itself is shown with the error in its log."""
    lines = {11: [{"message": "started"}, {"message": "    | KeyError: 'item'"}, {"message": "    +----"}]}
    (violation,) = judged(held_by_a().end(), log_lines=lines, stops=[Stop(11, 1, planned=False)]).violations
    assert violation.what == "supervisor 11 ended by itself with status 1: KeyError: 'item'"


def test_a_call_that_a_bug_failed() -> None:
    """A call that was failed by an exception is shown with it."""
    line = {"message": "call_failed", "call_id": CALL, "exception": "Traceback\nKeyError: 'item'"}
    (violation,) = judged(held_by_a().end(), log_lines={11: [line]}).violations
    assert violation.counter == "crashes"
    assert "KeyError" in violation.what
