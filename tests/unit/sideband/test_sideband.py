"""What `sideband` promises: its names, their documentation, and that they are cheap to import."""

import subprocess
import sys
from pathlib import Path

import pytest

import sideband
from sideband import testing

ROOT = Path(__file__).resolve().parents[3]
PROMISED = {
    "Agent", "Call", "Router", "Incoming", "Accept", "Reject", "Limits", "FromCall", "McpApprovalRequest",
    "TransferFailed", "StartupError",
}  # fmt: skip


def test_names_are_the_promised_ones() -> None:
    """`sideband` and `sideband.testing` export what they promise, and nothing else."""
    assert set(sideband.__all__) == PROMISED
    assert set(testing.__all__) == {"Rehearsal", "rehearse"}


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_name_is_documented(name: str) -> None:
    """Each has a docstring of its own, not one that it inherits or that dataclasses make up."""
    documented = vars(getattr(sideband, name))["__doc__"]
    assert documented
    assert not documented.startswith(f"{name}(")


def test_unknown_name_is_refused() -> None:
    """A name that does not exist is an AttributeError, as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'Agnet'"):
        getattr(sideband, "Agnet")  # noqa: B009 - no type checker lets it stand as an attribute


def test_testing_is_light() -> None:
    """A test module that imports `rehearse` loads no stand-in and no supervisor before it plays a call."""
    code = "import sys, sideband.testing; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"aiohttp", "emulator", "grpc", "pydantic", "supervisor"} & set(done.stdout.split())


def test_missing_extra_is_named() -> None:
    """`from sideband import Agent` without the extra says what to install."""
    code = "import sys; sys.modules['docstring_parser'] = None\nfrom sideband import Agent"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (
        done.stderr.splitlines()[-1] == "ImportError: agents need docstring_parser: pip install 'sideband[supervisor]'"
    )
