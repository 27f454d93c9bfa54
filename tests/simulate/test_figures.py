"""The model's figures are where they are said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulate.figures import load, number, read_table

PAGE = """
# Page

## Here

Words.

| what | now |
|---|---|
| one thing (s) | 1,234.5 of `10` |

## There
"""


def test_every_figure_is_found() -> None:
    """Each figure can be read from the document that it is quoted from."""
    figures, listed = load()
    assert figures.extended_per_minute == 1_800_000
    assert all(figure.value > 0 and figure.meaning and figure.sure and figure.source for figure in listed)


def test_table(tmp_path: Path) -> None:
    """A cell is found by its heading, row and column."""
    page = tmp_path / "page"
    page.write_text(PAGE)
    assert number(read_table(page, "Here")["one thing (s)"]["now"]) == 1234.5


@pytest.mark.parametrize(("section", "row"), [("Nowhere", "one thing (s)"), ("There", "one thing (s)"), ("Here", "no")])
def test_missing(tmp_path: Path, section: str, row: str) -> None:
    """What is no longer there is named."""
    page = tmp_path / "page"
    page.write_text(PAGE)
    with pytest.raises(LookupError, match=section if section != "Here" else row):
        read_table(page, section)[row]


def test_no_number() -> None:
    """A cell without a number is named."""
    with pytest.raises(LookupError, match="many"):
        number("many")
