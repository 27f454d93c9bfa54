"""What happens to fleets: scenarios at full size, and sweeps over a setting at a tenth.

A sweep's fleet has a tenth of the calls, of the supervisors and of every quota, so that its shares and times are those
of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from tests.simulate.figures import Figures
from tests.simulate.fleet import Fleet, Result
from tests.simulate.pubsub import after
from tests.simulate.supervisor import Supervisor
from tests.simulate.world import Plan

Disturb = Callable[[Fleet], None]

WHOLE = Plan()
TENTH = Plan(calls=WHOLE.calls // 10, supervisors=WHOLE.supervisors // 10, share=0.1)
STRIKE_AT = 30.0  # seconds; until then all is well
MINUTE = 60.0
ROLL_OUT_SECONDS = 90.0
BURST_PER_SECOND = 2000.0
SLOW_SECONDS = 3.0

MAX_CALLS = (200, 220, 250, 280, 300, 320, 350, 400)
RESERVED = (0, 20, 50)
LEASES = (10, 15, 20, 30, 45, 60)
OUTAGES = (10, 20, 40)
WAVES = (1, 5, 10, 25)
DATABASES = (4, 6, 8, 10)


@dataclass(frozen=True)
class Scenario:
    """A fleet, what is done to it, and for how long it is watched."""

    plan: Plan
    disturb: Disturb
    seconds: int
    labels: dict[str, float] = field(default_factory=dict)
    """Where it stands in its sweep."""

    def run(self, figures: Figures, seed: int) -> Result:
        """Run it; the same seed gives the same result."""
        fleet = Fleet(figures, self.plan, seed=seed)
        self.disturb(fleet)
        fleet.run(self.seconds)
        return fleet.result()


def nothing(_fleet: Fleet) -> None:
    """Let all be well."""


def zone_dies(fleet: Fleet) -> None:
    """Kill every machine of one zone; each is replaced."""

    def strike() -> None:
        for supervisor in [one for one in fleet.supervisors if one.zone == 0]:
            supervisor.die()
            fleet.start_later(fleet.figures.replace_seconds, zone=0)

    after(fleet.env, STRIKE_AT, strike)


def processes_crash(fleet: Fleet) -> None:
    """Kill every tenth process; its guardian lives."""

    def strike() -> None:
        for supervisor in fleet.supervisors[::10]:
            supervisor.crash()
            fleet.start_later(fleet.figures.cold_start_seconds, zone=supervisor.zone)

    after(fleet.env, STRIKE_AT, strike)


def rolls_out(fleet: Fleet, *, waves: int) -> None:
    """Replace all supervisors in so many waves, each new one just before an old one stops."""

    def replace_all(old: list[Supervisor]) -> None:
        for supervisor in old:
            fleet.start(zone=supervisor.zone)
            fleet.env.process(supervisor.hand_over())

    for wave in range(waves):
        old = fleet.supervisors[wave::waves]
        after(fleet.env, STRIKE_AT + ROLL_OUT_SECONDS * wave / waves, partial(replace_all, old))


def pubsub_is_slow(fleet: Fleet) -> None:
    """Let every answer of Pub/Sub take some seconds longer, for a minute."""

    def slow_down(seconds: float) -> None:
        fleet.world.pubsub.slow_seconds = seconds

    after(fleet.env, STRIKE_AT, lambda: slow_down(SLOW_SECONDS))
    after(fleet.env, STRIKE_AT + MINUTE, lambda: slow_down(0))


def pubsub_is_out(fleet: Fleet, *, seconds: float) -> None:
    """Let every request to Pub/Sub get lost for some time."""

    def fail() -> None:
        fleet.world.pubsub.down = True

    after(fleet.env, STRIKE_AT, fail)
    after(fleet.env, STRIKE_AT + seconds, fleet.world.pubsub.come_back)


def many_ring(fleet: Fleet) -> None:
    """Let callers ring much more often, for a minute."""
    usual = fleet.rings_per_second

    def ring(per_second: float) -> None:
        fleet.rings_per_second = per_second

    after(fleet.env, STRIKE_AT, lambda: ring(BURST_PER_SECOND * fleet.plan.share))
    after(fleet.env, STRIKE_AT + MINUTE, lambda: ring(usual))


WHOLE_FLEETS: dict[str, Scenario] = {
    "steady": Scenario(WHOLE, nothing, 60),
    "deploy": Scenario(WHOLE, partial(rolls_out, waves=10), 130),
    "crash": Scenario(WHOLE, processes_crash, 60),
    "zone": Scenario(WHOLE, zone_dies, 120),
    "slow": Scenario(WHOLE, pubsub_is_slow, 110),
    "outage": Scenario(WHOLE, partial(pubsub_is_out, seconds=MINUTE), 120),
    "burst": Scenario(WHOLE, many_ring, 120),
}
"""At full size, by name."""
HAPPENS = {
    "steady": "nothing",
    "deploy": "all supervisors are replaced, in ten waves within 90 s",
    "crash": "every tenth process is killed; its guardian lives",
    "zone": "every machine of one of three zones dies",
    "slow": f"every answer of Pub/Sub takes {SLOW_SECONDS:.0f} s longer, for a minute",
    "outage": "every request to Pub/Sub gets lost, for a minute",
    "burst": f"{BURST_PER_SECOND:,.0f} callers ring a second, for a minute",
}
"""What happens in each."""


def sweeps() -> Iterator[tuple[str, Scenario]]:
    """Give the scenarios of all sweeps, each with the sweep's name."""
    for max_calls in MAX_CALLS:
        plan = replace(TENTH, max_calls=max_calls)
        yield "head-room", Scenario(plan, zone_dies, 150, {"max_calls": max_calls})
    for reserved in RESERVED:
        plan = replace(TENTH, max_calls=250, reserved=reserved)
        yield "reserved", Scenario(plan, zone_dies, 150, {"max_calls": 250, "reserved": reserved})
    for lease in LEASES:
        plan = replace(TENTH, lease_seconds=lease)
        yield "lease", Scenario(plan, zone_dies, 100, {"lease": lease, "outage": 0})
        for seconds in OUTAGES:
            yield (
                "lease",
                Scenario(plan, partial(pubsub_is_out, seconds=seconds), 90, {"lease": lease, "outage": seconds}),
            )
        full = replace(plan, calls=plan.max_calls * plan.supervisors)
        yield "full", Scenario(full, nothing, 120, {"lease": lease})
    for waves in WAVES:
        yield "waves", Scenario(TENTH, partial(rolls_out, waves=waves), 130, {"waves": waves})
    for databases in DATABASES:
        yield "databases", Scenario(replace(TENTH, databases=databases), many_ring, 90, {"databases": databases})
    for limit in (2.0, MINUTE):
        plan = replace(TENTH, renewal_limit_seconds=limit, confirm_seconds=min(limit, WHOLE.confirm_seconds))
        yield "limit", Scenario(plan, pubsub_is_slow, 120, {"limit": limit})
