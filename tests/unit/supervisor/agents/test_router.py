"""Loading an agent or a router by its path."""

from pathlib import Path

import pytest

from supervisor.agents.router import load
from supervisor.errors import StartupError


def test_an_agent_is_named_by_module_and_attribute() -> None:
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
def test_a_wrong_path_is_explained_in_one_line(path: str, says: str) -> None:
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
)
def test_an_agent_whose_module_fails_is_explained_in_one_line(
    code: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"failing_agent_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StartupError, match=f"SIDEBAND_AGENT={name}:agent.*{says}") as raised:
        load(f"{name}:agent")
    assert "\n" not in str(raised.value)
