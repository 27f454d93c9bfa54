"""What an agent is made of, and what it refuses at start."""

import doctest
from collections.abc import Callable
from typing import Any, cast

import pytest

import supervisor.agents.agent
import supervisor.agents.call
import supervisor.agents.incoming
import supervisor.agents.limits
import supervisor.agents.router
import supervisor.agents.session
import supervisor.agents.sip
import supervisor.agents.tools
import supervisor.agents.user_code
import supervisor.conversation.realtime.tool_calls
import supervisor.openai.failures
import supervisor.transfer_targets
from sideband import Agent, Limits
from supervisor.agents.incoming import Rule
from supervisor.agents.router import load
from supervisor.agents.session import accept_body, update_body
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
)
def test_a_wrong_argument_is_refused_at_start(make: Callable[[], object], says: str) -> None:
    with pytest.raises(StartupError, match=says) as raised:
        make()
    assert "\n" not in str(raised.value)


def test_accept_and_update_carry_the_type_and_the_tools() -> None:
    agent = load("examples.bikes:agent").agents["agent"]
    accept, update = accept_body(agent.session, agent.tools), update_body(agent.session, agent.tools)
    assert accept["type"] == update["type"] == "realtime"
    assert [tool["name"] for tool in update["tools"]] == ["order_status", "hang_up"]
    assert accept["model"] == "gpt-realtime-2.1"
    assert "model" not in update, "the model of a session can't change"


@pytest.mark.parametrize(
    "module",
    [
        supervisor.agents.agent,
        supervisor.agents.call,
        supervisor.agents.incoming,
        supervisor.agents.limits,
        supervisor.agents.router,
        supervisor.agents.session,
        supervisor.agents.sip,
        supervisor.agents.tools,
        supervisor.agents.user_code,
        supervisor.conversation.realtime.tool_calls,
        supervisor.openai.failures,
        supervisor.transfer_targets,
    ],
)
def test_examples_in_docstrings_run(module: object) -> None:
    results = doctest.testmod(module, optionflags=doctest.ELLIPSIS)  # type: ignore[arg-type]  # typed as a module type
    assert results.attempted > 0
    assert results.failed == 0
