"""What a run shows to people and to machines."""

from __future__ import annotations

from rich.console import Console

from tests.chaos.evidence import Disturbance
from tests.chaos.oracle import Judgement, Violation, judge
from tests.chaos.report import EXCERPT_AFTER, EXCERPT_BEFORE, as_json, excerpt, percentile, show
from tests.chaos.stalls import Stall
from tests.chaos.written_logs import CALL, A, B, evidence_of, held_by_a


def test_the_report_is_short() -> None:
    """Of a violation the report shows the moment, and of many violations the first ten."""
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


def test_the_line_for_machines() -> None:
    """The line for machines has the counters, the gaps, and how late the machine was."""
    crash = held_by_a().detach(3, A, 1).attach(11, B, 2).end()
    evidence = evidence_of(crash, Disturbance("kill", 11, 3), stalls=[Stall(1, 1.5), Stall(2, 2.25)])
    line = as_json(judge(evidence), evidence)
    expected = {"calls": 1, "lost": 0, "two_writers": 0, "gap_ms_crash_p99": 8000.0, "gap_ms_handover_p99": None}
    assert line.items() >= expected.items()
    assert line["machine_late_seconds"] == 0.8


def test_percentiles() -> None:
    """A percentile is one of the values, and None of none."""
    assert percentile([], 0.99) is None
    assert percentile(list(range(100)), 0.99) == 99
    assert percentile([5.0], 0.5) == 5
