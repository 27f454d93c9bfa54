"""The prediction of the run in `check.py`: the same, played in the model."""

from __future__ import annotations

from dataclasses import replace

from tests.simulate.check import (
    CALLS,
    LEASE_SECONDS,
    MAX_CALLS,
    REPLACE_SECONDS,
    SIXTH_MAX_CALLS,
    SUPERVISORS,
    Costs,
    Run,
)
from tests.simulate.figures import Figures
from tests.simulate.fleet import Fleet
from tests.simulate.measures import spread
from tests.simulate.world import Plan

LOOPBACK_SECONDS = 0.001  # a request on one machine
FOR_EVER_SECONDS = 1e9
QUIET_SECONDS = 30.0  # between two parts of the run
PLAN = Plan(
    calls=0,
    supervisors=SUPERVISORS,
    zones=1,
    max_calls=MAX_CALLS,
    look_seconds=FOR_EVER_SECONDS,
    lease_seconds=LEASE_SECONDS,
    attaches_at_once=CALLS,
    one_core=True,
)


def predict(figures: Figures, costs: Costs, *, seed: int) -> Run:
    """Play the run in the model, with these costs, where nothing is far away."""
    fleet = Fleet(local(figures, costs), PLAN, seed=seed)
    books = fleet.world.books
    fleet.ring_together(CALLS)
    fleet.run(QUIET_SECONDS)

    fleet.start()
    stopped = fleet.env.now
    fleet.env.process(fleet.supervisors[0].hand_over())
    fleet.run(QUIET_SECONDS)
    moved, books.changes = books.changes, []

    fleet.start(max_calls=SIXTH_MAX_CALLS)
    fleet.run(fleet.world.random.uniform(0, QUIET_SECONDS))  # no phase of the renewals is likelier than another
    killed = fleet.env.now
    fleet.supervisors[1].die()
    fleet.run(REPLACE_SECONDS)
    recovered, books.changes = books.changes, []
    fleet.run(costs["cold_start_seconds"])
    fleet.start()
    fleet.run(QUIET_SECONDS)
    return {
        "answer": spread([(call.answered_at or 0.0) - call.rang_at for call in books.answered]),
        "handed_over": spread([change.attached_at - stopped for change in moved]),
        "deaf": spread([change.deaf_seconds for change in moved]),
        "recovered": spread([change.attached_at - killed for change in recovered]),
        "without_slot": spread([change.attached_at - killed for change in books.changes]),
        "core_share": costs["talk_core_share"] * CALLS,
        "delivered": int(fleet.world.counts.total("delivered")),
    }


def local(figures: Figures, costs: Costs) -> Figures:
    """Change figures to those of one machine, whose callers are silent and never hang up."""
    return replace(
        figures,
        take_core_seconds=costs["take_core_seconds"],
        change_core_seconds=costs["change_core_seconds"],
        talk_core_share=0.0,
        call_seconds=FOR_EVER_SECONDS,
        publish_seconds=LOOPBACK_SECONDS,
        deliver_seconds=LOOPBACK_SECONDS,
        request_seconds=LOOPBACK_SECONDS,
        store_seconds=LOOPBACK_SECONDS,
        accept_seconds=0.0,
        attach_seconds=LOOPBACK_SECONDS,
        pulled_at_once=CALLS,
    )
