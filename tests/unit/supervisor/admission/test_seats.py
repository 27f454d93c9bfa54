"""How many calls an agent, and a caller of it, may have in one process."""

from __future__ import annotations

from typing import Any

import pytest

from sideband import Agent
from supervisor.admission.seats import Seats

ANNA, BEN = "+31201234567", "+31207654321"


def agent(**limits: Any) -> Agent:
    return Agent(session={"model": "gpt-realtime-2.1"}, **limits)


def test_no_limit() -> None:
    """Without limits every call gets a seat."""
    seats = Seats()
    assert all(seats.take("shop", agent(), ANNA, force=False) for _ in range(100))


def test_limit_of_an_agent() -> None:
    """An agent's limit counts its own calls, whoever calls; a seat that is left is free again."""
    seats, shop = Seats(), agent(max_calls=2)
    callers = [ANNA, BEN, None]
    assert [seats.take("shop", shop, caller, force=False) for caller in callers] == [True, True, False]
    assert seats.take("night", agent(max_calls=1), ANNA, force=False)
    seats.leave("shop", ANNA)
    assert seats.take("shop", shop, None, force=False)


def test_limit_of_a_caller() -> None:
    """A caller's limit counts the calls of one number with one agent; unknown callers share none."""
    seats, shop = Seats(), agent(max_calls_per_caller=1)
    assert [seats.take("shop", shop, caller, force=False) for caller in (ANNA, ANNA, BEN)] == [True, False, True]
    assert all(seats.take("shop", shop, None, force=False) for _ in range(5))
    assert seats.take("night", shop, ANNA, force=False)


@pytest.mark.parametrize("limit", ["max_calls", "max_calls_per_caller"])
def test_a_refused_call_takes_no_seat(limit: str) -> None:
    """A call that gets no seat counts nowhere."""
    seats, shop = Seats(), agent(**{limit: 1})
    for _ in range(3):
        seats.take("shop", shop, ANNA, force=False)
    seats.leave("shop", ANNA)
    assert seats.take("shop", shop, ANNA, force=False)


def test_a_forced_seat_counts() -> None:
    """A call that an earlier owner accepted gets a seat beyond the limit, which counts like any other."""
    seats, shop = Seats(), agent(max_calls=1)
    assert seats.take("shop", shop, ANNA, force=False)
    assert seats.take("shop", shop, BEN, force=True)
    seats.leave("shop", ANNA)
    assert not seats.take("shop", shop, ANNA, force=False)


def test_nothing_is_remembered() -> None:
    """Callers who have left are forgotten, or every caller there ever was would stay in memory."""
    seats, shop = Seats(), agent()
    for number in range(100):
        caller = f"+3120{number:07}"
        seats.take("shop", shop, caller, force=False)
        seats.leave("shop", caller)
    assert dict(seats.taken) == {}
