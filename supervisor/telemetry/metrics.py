"""Metrics, counted from the log, so that logs and metrics can't differ.

`Metrics.count` sees every line before it is written. Which event a metric counts is declared in `events`; tests compare
the two, and the metrics with those in alerts and charts. All names begin with `sideband_`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
from structlog.typing import EventDict, WrappedLogger

from supervisor.telemetry import events

rang_at: ContextVar[float | None] = ContextVar("rang_at", default=None)
"""When the call of this task began to ring, in Unix seconds: its webhook's `created_at`."""

_SECONDS = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0]
_CALL_SECONDS = [5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0]

_TOOL_ERRORS = events.names_counted_by("sideband_tool_errors_total")


@dataclass(frozen=True, slots=True)
class State:
    """Describe a supervisor's load, and whether it claims calls."""

    calls: int
    """Calls in hand."""
    max_calls: int
    leases: int
    """Pub/Sub leases held: one for each call, and those of calls that are about to begin."""
    ready: bool
    """Whether it claims calls: Pub/Sub has answered, and it is not stopping."""


@dataclass(slots=True)
class _Orphan:
    """Remember how a call lost its owner.

    It has one again when its sideband is attached.
    """

    since: float
    """Unix seconds; after a crash, the earliest time that is possible."""
    cause: str


_orphan: ContextVar[_Orphan | None] = ContextVar("orphan", default=None)


class Metrics:
    """Count log lines in the instruments of one process.

    Args:
        meter: OpenTelemetry's.
        lease_seconds: how long a crash leaves a call without an owner, at most.
    """

    def __init__(self, meter: Meter, *, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        counter, histogram = meter.create_counter, meter.create_histogram
        self._claims = counter("sideband_claims_total", description="Claims, by whether the call had an owner before.")
        self._ended = counter("sideband_calls_ended_total", description="Calls that ended, by reason.")
        self._cost = counter("sideband_cost_usd_total", description="What ended calls cost, in USD.")
        self._handovers = counter("sideband_handovers_total", description="Calls given to others, by cause.")
        self._lost = counter("sideband_lost_leases_total", description="Claims lost, or not renewed in time.")
        self._reattaches = counter("sideband_reattaches_total", description="Sidebands opened again by their owner.")
        self._tool_errors = counter("sideband_tool_errors_total", description="Tool runs that failed, by error.")
        self._stages = histogram(
            "sideband_stage_seconds",
            description="From the webhook's created_at to a stage of a call.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._orphans = histogram(
            "sideband_orphan_seconds",
            description="How long a living call had no sideband when its owner changed; after a crash, at most.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._tools = histogram(
            "sideband_tool_seconds", description="Tool runs.", explicit_bucket_boundaries_advisory=_SECONDS
        )
        self._calls = histogram(
            "sideband_call_seconds",
            description="Length of calls that ended.",
            explicit_bucket_boundaries_advisory=_CALL_SECONDS,
        )

    def count(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Count what a log line says; return the line.

        Lines about a stage of a call get its age, as `age_seconds`.
        """
        name, now = event["event"], time.time()
        match name:
            case "claimed":
                self._claimed(event, now)
            case "attached":
                self._attached(event, now)
            case "accepted" | "greeted":
                self._stage(event, now)
            case "ended":
                self._ended.add(1, {"reason": event["reason"]})
                self._cost.add(event.get("cost_usd") or 0.0)
                if (rang := rang_at.get()) is not None:
                    self._calls.record(max(0.0, now - rang))
            case "tool_finished":
                self._tools.record(event["ms"] / 1000, {"tool": event["tool"]})
            case "handed_over" | "passed_on":
                self._handovers.add(1, {"cause": "stop" if name == "handed_over" else "failure"})
            case "claim_lost":
                self._lost.add(1)
            case _ if name in _TOOL_ERRORS:
                self._tool_errors.add(1, {"tool": event.get("tool", ""), "error": name.removeprefix("tool_")})
        return event

    def _claimed(self, event: EventDict, now: float) -> None:
        taken_over = event["epoch"] > 1
        self._claims.add(1, {"taken_over": str(taken_over).lower()})
        if taken_over:
            handed_over_at = event.get("handed_over_at")
            since = now - self._lease_seconds if handed_over_at is None else handed_over_at
            _orphan.set(_Orphan(since, "crash" if handed_over_at is None else "handover"))
        else:
            self._stage(event, now)

    def _attached(self, event: EventDict, now: float) -> None:
        if orphan := _orphan.get():
            self._orphans.record(max(0.0, now - orphan.since), {"cause": orphan.cause})
            _orphan.set(None)
        elif event["again"]:
            self._reattaches.add(1)
        else:
            self._stage(event, now)

    def _stage(self, event: EventDict, now: float) -> None:
        if (rang := rang_at.get()) is not None:
            age_seconds = max(0.0, now - rang)
            event["age_seconds"] = round(age_seconds, 3)
            self._stages.record(age_seconds, {"stage": event["event"]})


def observe(state: Callable[[], State]) -> None:
    """Make gauges of what a supervisor holds.

    The thread that exports metrics reads the state, too.
    """
    meter, loop = get_meter("sideband"), asyncio.get_running_loop()

    def gauge(name: str, description: str, read: Callable[[State], int]) -> None:
        def values(_options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(read(state()))]

        meter.create_observable_gauge(name, callbacks=[values], description=description)

    gauge("sideband_calls", "Calls in hand.", lambda now: now.calls)
    gauge("sideband_calls_max", "Calls that this process may hold.", lambda now: now.max_calls)
    gauge("sideband_leases", "Pub/Sub leases held; one for each call.", lambda now: now.leases)
    gauge("sideband_tasks", "Tasks of the event loop; a few for each call.", lambda _: len(asyncio.all_tasks(loop)))
