"""What the commands share: how they say that something is wrong."""

from __future__ import annotations

import pytest
import typer

from sideband.cli.common import FAILED, NOT_STARTED, fail, needs


@pytest.mark.parametrize("status", [NOT_STARTED, FAILED])
def test_fail(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A command fails with one line on stderr, nothing on stdout, and an exit status."""
    with pytest.raises(typer.Exit) as exit_:
        fail(ValueError("no such agent"), status)
    out, err = capsys.readouterr()
    assert (exit_.value.exit_code, out) == (status, "")
    assert err.splitlines() == ["no such agent"]


def test_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """An import that fails names the package, and the extra to install."""
    with pytest.raises(typer.Exit) as exit_, needs("supervisor"):
        raise ModuleNotFoundError("No module named 'openai'", name="openai")
    assert exit_.value.exit_code == NOT_STARTED
    assert capsys.readouterr().err == "This command needs openai: pip install 'sideband[supervisor]'\n"


def test_needs_nothing_else() -> None:
    """Any other error passes through."""
    with pytest.raises(ZeroDivisionError), needs("supervisor"):
        raise ZeroDivisionError
