"""Who answers, and whether: the agent's own code decides, and whatever it does, the caller gets an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from function.notice import CallNotice
from sideband import Accept, Agent, Incoming, Reject, Router
from supervisor.admission import policy as under_test
from supervisor.admission.policy import choose, decide
from supervisor.agents.incoming import UNAVAILABLE

INCOMING = Incoming(CallNotice(call_id="rtc_1"))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "RULE_SECONDS", 0.05)


def agent(rule: Callable[[Incoming], Any] | None = None) -> Agent:
    answering = Agent(session={"model": "gpt-realtime-2.1"})
    if rule:
        answering.incoming(rule)
    return answering


async def raise_error(_incoming: Incoming) -> None:
    raise RuntimeError("no database")


async def hang(_incoming: Incoming) -> None:
    await asyncio.Event().wait()


async def accept_later(_incoming: Incoming) -> Accept:
    await asyncio.sleep(0)
    return Accept(state={"vip": True})


@pytest.mark.parametrize(
    ("rule", "decision"),
    [
        (None, Accept()),
        (lambda _: None, Accept()),
        (lambda _: Accept(state={"vip": True}), Accept(state={"vip": True})),
        (accept_later, Accept(state={"vip": True})),
        (lambda _: Reject(486), Reject(486)),
    ],
    ids=["no rule", "None", "Accept", "async", "Reject"],
)
async def test_decide(rule: Callable[[Incoming], Any] | None, decision: Accept | Reject) -> None:
    """A call is taken unless the agent's rule rejects it."""
    with capture_logs() as lines:
        assert await decide(agent(rule), INCOMING) == decision
    assert lines == []


@pytest.mark.parametrize(
    ("rule", "event"),
    [
        (raise_error, "incoming_rule_failed"),
        (hang, "incoming_rule_timed_out"),
        (lambda _: True, "incoming_rule_failed"),
        (lambda _: Accept, "incoming_rule_failed"),
    ],
    ids=["raises", "hangs", "returns True", "returns a class"],
)
async def test_a_rule_that_does_not_decide(rule: Callable[[Incoming], Any], event: str) -> None:
    """A rule that fails, is slow or returns anything else rejects the call, and is an error in the log."""
    with capture_logs() as lines:
        assert await decide(agent(rule), INCOMING) == Reject(UNAVAILABLE)
    assert [(line["event"], line["log_level"]) for line in lines] == [(event, "error")]


async def test_what_a_rule_returned_is_not_logged() -> None:
    """Of a wrong decision the log has the type alone, since its value may be personal."""
    with capture_logs() as lines:
        await decide(agent(lambda _: "An Other"), INCOMING)
    assert "it returned a str" in lines[0]["error"]
    assert "An Other" not in str(lines)


@pytest.mark.parametrize(
    ("chooser", "name"),
    [
        (lambda _: "night", "night"),
        (lambda _: None, "day"),
        (lambda _: "nobody", "day"),
        (lambda _: 7, "day"),
        (raise_error, "day"),
        (hang, "day"),
    ],
    ids=["an agent", "None", "no agent", "a number", "raises", "hangs"],
)
async def test_choose(chooser: Callable[[Incoming], Any], name: str) -> None:
    """A chooser's agent answers; one that names none, fails or is slow leaves it to the other rules."""
    router = Router({"day": agent(), "night": agent()}, default="day")
    router.choose(chooser)
    assert await choose(router, INCOMING) == name


async def test_the_first_chooser_counts() -> None:
    """Choosers are asked in turn, until one names an agent."""
    router, asked = Router({"day": agent(), "night": agent()}), list[str]()
    for name in (None, "night", "day"):

        def chooser(_incoming: Incoming, name: str | None = name) -> str | None:
            asked.append(str(name))
            return name

        router.choose(chooser)
    assert await choose(router, INCOMING) == "night"
    assert asked == ["None", "night"]


async def test_nobody_answers() -> None:
    """Without a rule that fits and without a default, no agent answers."""
    assert await choose(Router({"day": agent()}), INCOMING) is None


@pytest.mark.parametrize(("returned", "logged"), [("nobody", True), (7, True), (None, False), ("", False)])
async def test_a_wrong_name_is_logged(returned: object, logged: bool) -> None:
    """A name that is no agent's is an error in the log; no name is none."""
    router = Router({"day": agent()}, default="day")
    router.choose(cast("Any", lambda _: returned))
    with capture_logs() as lines:
        await choose(router, INCOMING)
    assert [line["event"] for line in lines] == (["chooser_failed"] if logged else [])
