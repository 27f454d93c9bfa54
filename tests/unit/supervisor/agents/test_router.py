"""Which agent answers a call, and loading an agent or a router by its path."""

from pathlib import Path

import pytest

from function.notice import CallNotice
from sideband import Agent, Incoming, Router
from supervisor.agents.router import as_router, load
from supervisor.errors import StartupError

SESSION = {"model": "gpt-realtime-2.1"}
NAMES = ("by_claim", "by_header", "by_number", "default")


def router(default: str | None = "default") -> Router:
    """Make a router with one rule of each kind."""
    made = Router({name: Agent(session=SESSION) for name in NAMES}, default=default)
    made.dialled("+31207654321", "by_number")
    made.header("X-Department", "repairs", "by_header")
    made.context("department", "7", "by_claim")
    return made


def incoming(*, number: str = "", department: str = "", claim: object = None) -> Incoming:
    headers = [("To", f"<sip:{number}@trunk.test>")] if number else []
    headers += [("x-department", department)] if department else []
    return Incoming(CallNotice(call_id="rtc_1", sip_headers=headers, context={"department": claim} if claim else {}))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (incoming(number="+31207654321"), "by_number"),
        (incoming(department="repairs"), "by_header"),
        (incoming(claim=7), "by_claim"),
        (incoming(number="+31207654321", department="repairs"), "by_header"),
        (incoming(number="+31207654321", department="repairs", claim="7"), "by_claim"),
        (incoming(number="+31201111111", department="Repairs", claim="77"), "default"),
        (incoming(), "default"),
    ],
    ids=["number", "header", "claim", "header first", "claim first", "no rule fits", "nothing known"],
)
def test_name_for(call: Incoming, name: str) -> None:
    """Claims count before headers, headers before numbers, and the default last; claims are compared as text."""
    assert router().name_for(call) == name


def test_no_default() -> None:
    """Without a default nobody answers a call that no rule fits."""
    assert router(default=None).name_for(incoming()) is None


def test_an_unknown_agent_is_refused() -> None:
    """A rule or a default that names no agent is refused at start, with those that there are."""
    made = router()
    for refused in (
        lambda: made.dialled("+31201111111", "nobody"),
        lambda: made.header("X-A", "a", "nobody"),
        lambda: made.context("a", "a", "nobody"),
        lambda: router(default="nobody"),
    ):
        with pytest.raises(StartupError, match="no agent named 'nobody'; it has by_claim, by_header"):
            refused()


def test_a_router_without_agents_is_refused() -> None:
    """A router needs an agent."""
    with pytest.raises(StartupError, match="at least one agent"):
        Router({})


def test_as_router() -> None:
    """An agent becomes a router that always chooses it; a router stays what it is."""
    agent, made = Agent(session=SESSION), router()
    alone = as_router(agent)
    assert (alone.agents, alone.name_for(incoming())) == ({"agent": agent}, "agent")
    assert as_router(made) is made


def test_load_by_module_and_attribute() -> None:
    """An agent that is named as module:attribute is loaded as a router with one agent."""
    assert list(load("examples.bikes:agent").agents) == ["agent"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("examples.bikes", "write it as module:attribute"),
        ("no_such_module:agent", "no module named 'no_such_module'"),
        ("examples.bikes:nobody", "'nobody' is nothing, not an Agent or a Router"),
        ("examples.bikes:ORDERS", "'ORDERS' is a dict, not an Agent or a Router"),
    ],
)
def test_a_wrong_path_is_explained(path: str, says: str) -> None:
    """A path that names no agent is refused in one line that says what is wrong."""
    with pytest.raises(StartupError, match=says) as raised:
        load(path)
    assert "\n" not in str(raised.value)


DEAF = """
from sideband import Agent
agent = Agent(session={"model": "gpt-realtime-2.1"})
agent.guard.input(lambda call, said: None)
"""


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("1 /", "invalid syntax"),
        ("raise RuntimeError('no database')", "RuntimeError: no database"),
        ("import no_such_package", "no module named 'no_such_package'; .* imports it: install it"),
        ("raise SystemExit('no settings')", "SystemExit: no settings"),
        (DEAF, "'agent' has a guard.input, .* set session.audio.input.transcription.model"),
    ],
    ids=["syntax", "exception", "import", "exit", "guard without transcription"],
)
def test_a_failing_module_is_explained(code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that fails while it is imported is refused in one line that says where and how."""
    name = f"failing_agent_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StartupError, match=f"SIDEBAND_AGENT={name}:agent.*{says}") as raised:
        load(f"{name}:agent")
    assert "\n" not in str(raised.value)
