"""What a rehearsal's file expects, held against what happened."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sideband.cli.rehearsal_file import Expected, RehearsalError, RehearsalFile, rehearse_file
from sideband.testing import Rehearsal

HAPPENED = SimpleNamespace(
    tools=["order_status"],
    end_reason="caller_hung_up",
    transfers=[],
    rejected_with=None,
    instructions=["Greet the caller."],
    transcript=[("caller", "Is B-1042 ready?"), ("agent", "On Thursday.")],
)


def missed(**expected: Any) -> list[str]:
    """Say what of these expectations is missed."""
    return Expected(**expected).missed_by(cast("Rehearsal", HAPPENED))


@pytest.mark.parametrize(
    "expected",
    [
        {},
        {"tools": ["order_status"], "end_reason": "caller_hung_up", "transfers": []},
        {"says": ["Thursday", "Greet", "B-1042"]},
    ],
    ids=["nothing", "all", "words"],
)
def test_met(expected: dict[str, Any]) -> None:
    """What is expected and happened is not missed; words may be anybody's, or of the instructions."""
    assert missed(**expected) == []


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        ({"tools": []}, "tools: expected [], got ['order_status']"),
        ({"end_reason": "transferred"}, "end_reason: expected transferred, got caller_hung_up"),
        ({"rejected_with": 486}, "rejected_with: expected 486, got None"),
        ({"says": ["Friday"]}, "says: nobody said 'Friday'"),
    ],
    ids=["tools", "end", "rejection", "words"],
)
def test_missed(expected: dict[str, Any], says: str) -> None:
    """What is missed is said with what happened instead."""
    assert missed(**expected) == [says]


def test_all_that_is_missed() -> None:
    """Everything that is missed is listed, and not only the first."""
    assert len(missed(tools=[], transfers=["tel:+1"], says=["Friday", "Sunday"])) == 4


@pytest.mark.parametrize(
    "content",
    [{}, {"script": "x"}, {"script": [], "expects": {}}, {"script": [], "expect": {"toolz": []}}],
    ids=["empty", "no steps", "unknown field", "unknown expectation"],
)
def test_what_is_no_rehearsal(content: dict[str, Any]) -> None:
    """A file without a script, or with fields that there are not, is refused."""
    with pytest.raises(ValueError, match=r"script|expects|toolz"):
        RehearsalFile.model_validate(content)


async def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """A file that is not UTF-8 is named as that."""
    (tmp_path / "call.yaml").write_bytes(b"script: \xff")
    with pytest.raises(RehearsalError, match=r"call\.yaml: not UTF-8 text"):
        await rehearse_file("examples.bikes:agent", tmp_path / "call.yaml")
