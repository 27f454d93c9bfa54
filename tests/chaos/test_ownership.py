"""How long a call may be without an owner, and how the gaps between owners are told apart."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.evidence import Disturbance
from tests.chaos.stalls import Stall
from tests.chaos.written_logs import CALL, A, B, Log, found, held_by_a, judged


def claimed(attempt: int) -> list[dict[str, Any]]:
    """Return what a supervisor logs when it claims the call, in this delivery attempt."""
    return [{"message": "claimed", "call_id": CALL, "delivery_attempt": attempt}]


def test_kinds_of_gaps() -> None:
    """Gaps are told apart by what took the last owner, and by whether a second fault struck."""
    crash = held_by_a().detach(3, A, 1).attach(11, B, 2).end()
    kill = Disturbance("kill", 11, 3)
    (gap,) = judged(crash, kill, log_lines={11: claimed(1), 22: claimed(2)}).gaps
    assert (gap.change, gap.seconds) == ("crash", 8)
    (gap,) = judged(crash, kill, log_lines={11: claimed(1), 22: claimed(3)}).gaps
    assert gap.change == "double_fault"
    (gap,) = judged(crash, kill, Disturbance("stall", 22, 9, 10)).gaps
    assert gap.change == "double_fault"
    (gap,) = judged(held_by_a().detach(3, A, 1).add(10, "refused", "503", B).attach(11, B, 2).end(), kill).gaps
    assert gap.change == "double_fault"
    failed = Log().attach(0, A, 1).detach(3, A, 1)
    failed.add(10, "rest", "accept", B, status=504, applied=False, faulty=True).attach(11, B, 2)
    (gap,) = judged(failed.end(), kill).gaps
    assert gap.change == "double_fault"
    (gap,) = judged(crash).gaps
    assert (gap.change, gap.seconds) == ("other", 8)


def test_where_a_handover_begins() -> None:
    """A hand-over is timed from the last sign that its owner had the call."""
    restart = Disturbance("restart", 11, 3)
    quiet = held_by_a().attach(3.2, B, 2).detach(3.4, A, 1).end()
    (gap,) = judged(quiet, restart).gaps
    assert gap.change == "handover"
    assert gap.seconds == pytest.approx(0.2)
    busy = held_by_a().writes(4, A, 1).attach(4.1, B, 2).detach(4.2, A, 1).end()
    (gap,) = judged(busy, restart).gaps
    assert gap.seconds == pytest.approx(0.1)
    finishing = held_by_a().attach(7, B, 2).detach(7.2, A, 1).end()
    lines = {11: claimed(1), 22: [{**claimed(2)[0], "handed_over_at": finishing.entries[0].unix_seconds + 6.8}]}
    (gap,) = judged(finishing, restart, log_lines=lines).gaps
    assert gap.seconds == pytest.approx(7 - finishing.entries[0].monotonic_seconds - 6.8)


def test_a_socket_replaced_is_no_gap() -> None:
    """A socket that its own process replaces is no change of owner."""
    assert judged(held_by_a().detach(3, A, 1).attach(3.1, A, 2).end()).gaps == []


def test_a_call_left_alone() -> None:
    """A living call may be without an owner for a lease + 2 s, and no longer."""
    kill = Disturbance("kill", 11, 5)
    assert found(judged(held_by_a().detach(5, A, 1).end(19), kill)) == {"lost": 1}
    assert judged(held_by_a().detach(5, A, 1).end(16), kill).passed, "its lease had not run out for long enough"


@pytest.mark.parametrize(("attached_at", "counters"), [(17.0, {}), (17.5, {"lost": 1, "slow_takeovers": 1})])
def test_a_takeover_after_a_crash(attached_at: float, counters: dict[str, int]) -> None:
    """The next owner must be there within a lease + 2 s."""
    log = held_by_a().detach(5, A, 1).attach(attached_at, B, 2).end()
    assert found(judged(log, Disturbance("kill", 11, 5))) == counters


@pytest.mark.parametrize(("attached_at", "counters"), [(6.0, {}), (6.1, {"slow_takeovers": 1})])
def test_a_takeover_in_a_handover(attached_at: float, counters: dict[str, int]) -> None:
    """The next owner must be there within a second."""
    log = held_by_a().detach(5.1, A, 1).attach(attached_at, B, 2).end()
    assert found(judged(log, Disturbance("restart", 11, 5))) == counters


def test_a_busy_machine_is_no_delay() -> None:
    """The time for which the machine was late is taken off, and no more than that."""
    log = held_by_a().detach(5.1, A, 1).attach(6.5, B, 2).end()
    restart = Disturbance("restart", 11, 5)
    assert judged(log, restart, stalls=[Stall(4.0, 5.2), Stall(6.0, 6.4)]).passed
    assert found(judged(log, restart, stalls=[Stall(4.0, 5.2), Stall(7.0, 9.0)])) == {"slow_takeovers": 1}


def test_a_frozen_owner_owns_nothing() -> None:
    """A call whose owner is frozen is alone, though its socket stays."""
    freeze = Disturbance("freeze", 11, 5, 40)
    assert found(judged(held_by_a().end(), freeze)) == {"lost": 1}


def test_a_further_fault_is_an_excuse() -> None:
    """A further fault, or OpenAI's refusal, while a call is alone gives it one more lease."""
    kills = (Disturbance("kill", 11, 5), Disturbance("kill", 22, 14))
    assert judged(held_by_a().detach(5, A, 1).attach(24, B, 2).end(), *kills).passed
    refused = held_by_a().detach(5, A, 1).add(14, "refused", "503", B).attach(24, B, 2)
    assert judged(refused.end(), kills[0]).passed
