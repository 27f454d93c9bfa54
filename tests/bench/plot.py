"""Draw series as a column of line plots: `python tests/bench/plot.py series.json plot.png`.

    {"title": "...", "x": "minutes",
     "panels": [{"title": "Memory", "unit": "MB", "x": [0, 1], "y": [80, 81]}, ...]}

It runs in an environment of its own, with nothing but matplotlib (see the Makefile), and imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TypedDict

import matplotlib as mpl
from matplotlib.figure import Figure

PANEL_INCHES = (9.0, 1.6)
INK, QUIET = "#1f5673", "#777777"


class Panel(TypedDict):
    """One line plot."""

    title: str
    unit: str
    x: list[float]
    y: list[float]


class Plot(TypedDict):
    """A column of line plots over the same x."""

    title: str
    x: str
    """What x is, with its unit."""
    panels: list[Panel]


def draw(plot: Plot, path: Path) -> None:
    """Draw a plot as the kind of image that the path's suffix names."""
    panels = plot["panels"]
    figure = Figure(figsize=(PANEL_INCHES[0], PANEL_INCHES[1] * len(panels)), layout="constrained")
    figure.suptitle(plot["title"], fontsize=11)
    column = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(column, panels, strict=True):
        axes.plot(panel["x"], panel["y"], color=INK, linewidth=1.3)
        axes.set_title(f"{panel['title']} ({panel['unit']})" if panel["unit"] else panel["title"], loc="left")
        axes.set_ylim(0, 1.1 * max(*panel["y"], 1))
        axes.grid(visible=True, color=QUIET, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    column[-1].set_xlabel(plot["x"])
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    mpl.rcParams.update({"font.size": 9, "axes.titlesize": 9, "axes.edgecolor": QUIET})
    series, image = map(Path, sys.argv[1:])
    draw(json.loads(series.read_text()), image)
