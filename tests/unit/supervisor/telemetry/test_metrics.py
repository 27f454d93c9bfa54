"""What is counted from which line of the log."""

import time
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint

from supervisor.telemetry.events import EVENTS, names_counted_by
from supervisor.telemetry.metrics import Metrics, rang_at

LEASE_SECONDS = 15
STAGES = ("claimed", "accepted", "attached", "greeted")


class Counted:
    """Metrics of a call that rang `age` seconds ago, and what they say now."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self._metrics = Metrics(self._provider.get_meter("sideband"), lease_seconds=LEASE_SECONDS)

    def lines(self, *lines: dict[str, Any], age: float | None = None) -> list[dict[str, Any]]:
        """Count these lines as one call's task would log them."""

        def log() -> list[dict[str, Any]]:
            rang_at.set(None if age is None else time.time() - age)
            return [dict(self._metrics.count(None, "info", dict(line))) for line in lines]

        return copy_context().run(log)

    def read(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The points of a metric: labels and value, which is (count, sum) of a histogram."""
        return [(dict(point.attributes or {}), _value(point)) for point in self.points().get(name, [])]

    def points(self) -> dict[str, list[Any]]:
        """The points of all metrics."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def times(self) -> dict[str, float]:
        """How much each metric has counted."""
        return {name: sum(_number(point) for point in points) for name, points in self.points().items()}


def _value(point: Any) -> Any:
    if isinstance(point, HistogramDataPoint):
        return point.count, pytest.approx(point.sum, abs=0.5)
    assert isinstance(point, NumberDataPoint)
    return point.value


def _number(point: Any) -> float:
    return float(point.count if isinstance(point, HistogramDataPoint) else point.value)


FIRST = {"event": "claimed", "epoch": 1, "handed_over_at": None}
ATTACHED = {"event": "attached", "again": False}
ATTACHED_AGAIN = {"event": "attached", "again": True}


def test_stages() -> None:
    """The stages of a call are measured from its webhook on, and their lines say the age."""
    counted = Counted()
    lines = counted.lines(FIRST, {"event": "accepted"}, ATTACHED, {"event": "greeted"}, age=2)
    assert [line["age_seconds"] for line in lines] == [pytest.approx(2, abs=0.5)] * 4
    assert counted.read("sideband_stage_seconds") == [({"stage": stage}, (1, 2)) for stage in STAGES]
    assert counted.read("sideband_claims_total") == [({"taken_over": "false"}, 1)]


def test_a_call_of_unknown_age() -> None:
    """A call of unknown age is counted, but in no histogram of its stages."""
    counted = Counted()
    counted.lines(FIRST, ATTACHED, {"event": "ended", "reason": "missed"})
    assert counted.read("sideband_calls_ended_total") == [({"reason": "missed"}, 1)]
    assert not counted.read("sideband_stage_seconds")


def test_orphaned_by_a_crash() -> None:
    """After a crash the whole lease counts as time without an owner."""
    counted = Counted()
    counted.lines({**FIRST, "epoch": 2}, ATTACHED_AGAIN, age=60)
    assert counted.read("sideband_orphan_seconds") == [({"cause": "crash"}, (1, LEASE_SECONDS))]
    assert not counted.read("sideband_stage_seconds")
    assert not counted.read("sideband_reattaches_total")


def test_orphaned_by_a_hand_over() -> None:
    """After a hand-over the time since then counts as time without an owner."""
    counted = Counted()
    counted.lines({**FIRST, "epoch": 2, "handed_over_at": time.time() - 3}, ATTACHED_AGAIN, age=60)
    assert counted.read("sideband_orphan_seconds") == [({"cause": "handover"}, (1, 3))]


def test_reattaches() -> None:
    """A socket that its owner opens again is a reattach."""
    counted = Counted()
    counted.lines(FIRST, ATTACHED, ATTACHED_AGAIN, ATTACHED_AGAIN, age=60)
    assert counted.read("sideband_reattaches_total") == [({}, 2)]


def test_calls_do_not_mix() -> None:
    """What one call's lines say is not counted for another."""
    counted = Counted()
    counted.lines({**FIRST, "epoch": 2}, age=60)
    counted.lines(ATTACHED_AGAIN, age=60)
    assert not counted.read("sideband_orphan_seconds")


@pytest.mark.parametrize("error", sorted(names_counted_by("sideband_tool_errors_total")))
def test_tool_errors(error: str) -> None:
    """Errors of tools are counted by tool and kind."""
    counted = Counted()
    counted.lines(
        {"event": error, "tool": "order_status"}, {"event": "tool_finished", "tool": "order_status", "ms": 500}
    )
    assert counted.read("sideband_tool_errors_total") == [
        ({"tool": "order_status", "error": error.removeprefix("tool_")}, 1)
    ]
    assert counted.read("sideband_tool_seconds") == [({"tool": "order_status"}, (1, 0.5))]


def test_ends_and_hand_overs() -> None:
    """Ends, hand-overs, lost leases and cost are counted."""
    counted = Counted()
    counted.lines(
        {"event": "ended", "reason": "caller_hung_up", "cost_usd": 0.25},
        {"event": "handed_over"},
        {"event": "passed_on", "cause": "401"},
        {"event": "claim_lost"},
        age=30,
    )
    assert counted.read("sideband_calls_ended_total") == [({"reason": "caller_hung_up"}, 1)]
    assert counted.read("sideband_cost_usd_total") == [({}, 0.25)]
    assert counted.read("sideband_call_seconds") == [({}, (1, 30))]
    assert sorted(str(point) for point in counted.read("sideband_handovers_total")) == [
        "({'cause': 'failure'}, 1)",
        "({'cause': 'stop'}, 1)",
    ]
    assert counted.read("sideband_lost_leases_total") == [({}, 1)]


TAKEN_OVER = {**FIRST, "epoch": 2}
FIELDS = {"epoch": 1, "again": False, "tool": "pay", "ms": 1, "reason": "missed", "cost_usd": 0.25}


def counted_for(name: str) -> set[str]:
    """The metrics that count an event, in whichever state of its call."""
    found = set()
    for before in ([], [TAKEN_OVER]):
        for more in ({}, {"epoch": 2}, {"again": True}):
            without, counted = Counted(), Counted()
            without.lines(*before, age=1)
            counted.lines(*before, {**FIELDS, "event": name, **more}, age=1)
            found |= {metric for metric, times in counted.times().items() if times > without.times().get(metric, 0)}
    return found


def test_an_event_is_counted_as_declared() -> None:
    """By each metric that its declaration names, and by no other."""
    declared = [event for group in EVENTS.values() for event in group]
    assert {event.name: counted_for(event.name) for event in declared} == {
        event.name: set(event.counted_by.split()) for event in declared
    }
