"""The figures that the model is fed with: `figures.toml` says where each is from."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tests.support.repository import ROOT

HERE = Path(__file__).parent
MEASURED = HERE / "measured.json"
_NUMBER = re.compile(r"[\d,]+(?:\.\d+)?(?:e-?\d+)?")

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures by name; units are in the names, meanings in `figures.toml`."""

    take_core_seconds: float
    change_core_seconds: float
    talk_core_share: float
    function_requests_per_second: float
    cold_start_seconds: float
    commits_per_turn: float
    documents_per_commit: float
    bytes_per_event: float
    log_bytes_per_call: float
    delivered_per_minute: float
    extended_per_minute: float
    published_megabytes_per_second: float
    database_writes_per_second: float
    document_writes_per_second: float
    databases_per_project: float
    instances_per_pool: float
    sockets_per_instance: float
    gigabits_per_instance: float
    connections_per_address: float
    usd_per_vcpu_second: float
    usd_per_gib_second: float
    usd_per_write: float
    usd_per_delete: float
    usd_per_pubsub_gib: float
    usd_per_nat_gib: float
    usd_per_egress_gib: float
    usd_per_log_gib: float
    call_seconds: float
    turn_seconds: float
    events_per_second: float
    sent_bytes_per_turn: float
    publish_seconds: float
    deliver_seconds: float
    request_seconds: float
    pulled_at_once: float
    store_seconds: float
    accept_seconds: float
    attach_seconds: float
    spread: float
    ring_seconds: float
    replace_seconds: float
    scale_seconds: float
    busy_share: float

    @property
    def commits_per_second(self) -> float:
        """Commits of one call's record."""
        return self.commits_per_turn / self.turn_seconds

    @property
    def writes_per_second(self) -> float:
        """Documents that one call writes."""
        return self.commits_per_second * self.documents_per_commit


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, and how sure it is."""

    name: str
    value: float
    meaning: str
    sure: str
    source: str
    """A link into a document, or why the value was taken."""


def load() -> tuple[Figures, list[Figure]]:
    """Read all figures, as values for the model and as a list.

    Raises:
        LookupError: a document has no such table, row or column any more.
    """
    entries = tomllib.loads((HERE / "figures.toml").read_text())
    listed = [_read(name, entry) for name, entry in entries.items()]
    assert {figure.name for figure in listed} == {field.name for field in fields(Figures)}
    return Figures(**{figure.name: figure.value for figure in listed}), listed


def _read(name: str, entry: Mapping[str, Any]) -> Figure:
    meaning = entry["meaning"]
    if "value" in entry:
        return Figure(name, entry["value"], meaning, entry["sure"], entry["why"])
    if "measured" in entry:
        value = json.loads(MEASURED.read_text())["costs"][entry["measured"]]
        return Figure(name, value, meaning, "measured", "`make simulate-check`")
    section = entry["section"]
    row = read_table(ROOT / entry["document"], section)[entry["row"]]
    if entry["column"] not in row:
        raise LookupError(f"{entry['document']}, {section}: no column {entry['column']!r} in row {entry['row']!r}")
    anchor = re.sub(r"[^\w\- ]", "", section.lower()).replace(" ", "-")
    link = f"[{section}]({entry['document'].removeprefix('docs/')}#{anchor})"
    return Figure(
        name, number(row[entry["column"]]) * entry.get("factor", 1), meaning, row.get("sure", "measured"), link
    )


def read_table(document: Path, section: str) -> Mapping[str, Row]:
    """Read the first table under a heading, as rows by their first cells.

    Raises:
        LookupError: there is no such heading, table or, when it is looked up, row.
    """
    _, heading, below = document.read_text().partition(f"\n## {section}\n")
    lines = [line for line in below.partition("\n## ")[0].splitlines() if line.startswith("|")]
    if not heading or not lines:
        raise LookupError(f"{document.name} has no table under {section!r}")
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return _Rows({row[0]: dict(zip(head, row, strict=False)) for row in rows})


class _Rows(dict[str, Row]):
    def __missing__(self, row: str) -> Row:
        raise LookupError(f"there is no row {row!r}; there are: {'; '.join(self)}")


def number(cell: str) -> float:
    """Read the first number in a cell, such as `1,800,000; more on request`."""
    found = _NUMBER.search(cell)
    if not found:
        raise LookupError(f"{cell!r} has no number")
    return float(found[0].replace(",", ""))
