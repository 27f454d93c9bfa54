"""The page is filled in, and shows what is plotted."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.simulate import report
from tests.simulate.figures import load
from tests.simulate.fleet import Fleet
from tests.simulate.scenarios import WHOLE_FLEETS, sweeps
from tests.simulate.world import Plan


@pytest.fixture
def results() -> dict[str, Any]:
    """Results of the right shape: one small fleet's, under every name."""
    fleet = Fleet(load()[0], replace(Plan(), calls=60, supervisors=3, share=0.01))
    fleet.supervisors[0].crash()
    fleet.run(30)
    result = fleet.result()
    shown: dict[str, Any] = {"whole": dict.fromkeys(WHOLE_FLEETS, result)}
    for name, scenario in sweeps():
        shown.setdefault(name, []).append({"labels": scenario.labels, "result": result})
    return shown


def test_page(results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left open in the page, and its plots are those that are drawn."""
    page = tmp_path / "scale.md"
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "SEEDS", 2)
    report.write(results, tmp_path)
    text = page.read_text()
    assert "$" not in text
    assert "nan" not in text
    drawn = {path.stem for path in tmp_path.glob("*.json")}
    assert set(re.findall(r"\]\(scale/([\w-]+)\.png\)", text)) == drawn


def test_plots(results: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every panel has as many values as moments."""
    monkeypatch.setattr(report, "PAGE", tmp_path / "scale.md")
    monkeypatch.setattr(report, "SEEDS", 1)
    report.write(results, tmp_path)
    for path in tmp_path.glob("*.json"):
        plot = json.loads(path.read_text())
        assert plot["panels"]
        assert all(len(panel["x"]) == len(panel["y"]) > 1 for panel in plot["panels"])
