"""A plan is repeatable, and strikes everything."""

from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.openai import parse_script
from tests.chaos.plan import KINDS, Plan, make_plan


def plan_of(seed: int, *, calls: int = 20, seconds: float = 30.0, supervisors: int = 3) -> Plan:
    """Make a small plan."""
    return make_plan(seed=seed, calls=calls, seconds=seconds, supervisors=supervisors)


def test_a_plan_is_repeatable() -> None:
    """A plan is made by its seed and its size alone."""
    assert plan_of(1) == plan_of(1)
    assert plan_of(1) != plan_of(2)
    assert plan_of(1) != plan_of(1, calls=21)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), seconds=st.floats(10, 300), supervisors=st.integers(2, 5))
def test_every_plan_can_be_played(seed: int, seconds: float, supervisors: int) -> None:
    """Its scripts are the stand-in's, every kind of fault strikes somebody that exists, and all is within the time."""
    plan = plan_of(seed, seconds=seconds, supervisors=supervisors)
    assert len(plan.calls) == 20
    for call in plan.calls:
        parse_script(call.script)
        assert 0 <= call.at_seconds <= seconds
    assert {fault.kind for fault in plan.faults} == set(KINDS)
    assert all(fault.target < supervisors and 0 < fault.at_seconds < seconds for fault in plan.faults)


def test_a_long_plan_leaves_time() -> None:
    """No process is struck while another fault has it in hand, as long as one is free."""
    plan = plan_of(3, seconds=240.0)
    held = [fault for fault in plan.faults if fault.kind in {"kill", "restart", "freeze", "isolate", "stall", "hiccup"}]
    for number, fault in enumerate(held):
        later = [other for other in held[number + 1 :] if other.target == fault.target]
        assert all(other.at_seconds >= fault.at_seconds + fault.lasts_seconds for other in later)
