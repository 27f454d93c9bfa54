"""What an agent is made of, and what it refuses at start."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from sideband import Agent, Limits
from supervisor.agents.incoming import Rule
from supervisor.errors import StartupError

SESSION = {"model": "gpt-realtime-2.1"}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Limits(max_usd=cast("float", "2")), r"Limits\(max_usd='2'\): give a number above 0, or None"),
        (lambda: Limits(max_seconds=-1), "give a number above 0"),
        (lambda: Limits(goodbye=cast("str", 1)), "give a text"),
        (lambda: Agent(session=cast("dict[str, str]", "gpt")), r"Agent\(session='gpt'\): give a mapping"),
        (lambda: Agent(session=SESSION, limits=cast("Limits", {"max_usd": 2})), "give Limits"),
        (lambda: Agent(session=SESSION, greeting=cast("str", ["x"])), "give a text"),
        (lambda: Agent(session=SESSION, apology=cast("str", None)), "give a text"),
        (lambda: Agent(session=SESSION, max_calls=cast("int", "2")), "give a whole number"),
        (lambda: Agent(session=SESSION, fallback="+3120"), "write a tel: or sip: URI"),
        (lambda: Agent(session=SESSION).incoming(cast("Rule", lambda: None)), r"is called as <lambda>\(incoming\)"),
        (lambda: Agent(session=SESSION).on_end(cast("Any", lambda: None)), r"is called as <lambda>\(call\)"),
    ],
    ids=[
        *("limit that is text", "negative limit", "goodbye", "session", "limits", "greeting", "apology"),
        *("max_calls", "fallback", "rule without a call", "handler without a call"),
    ],
)
def test_a_wrong_argument_is_refused(make: Callable[[], object], says: str) -> None:
    """An agent refuses a wrong argument when it is made, in one line that says what to give instead."""
    with pytest.raises(StartupError, match=says) as raised:
        make()
    assert "\n" not in str(raised.value)
