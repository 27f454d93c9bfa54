"""What becomes of a record that was opened late, and of what the store has of its call."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import fields, replace
from typing import Any

import pytest

from supervisor.records.merge import merge, merge_in_place
from supervisor.records.record import CallRecord, JournalEntry

OURS = CallRecord(call_id="call", message_id="message", epoch=0)
STORED = CallRecord(call_id="call", message_id="message", epoch=3)


def entry(**more: Any) -> JournalEntry:
    return JournalEntry(tool_call_id="t1", name="pay", arguments="{}", **more)


@pytest.mark.parametrize(
    ("name", "ours", "stored", "merged"),
    [
        ("epoch", 0, 4, 4),
        ("heard_at", 2.0, 1.0, 1.0),
        ("heard_at", 2.0, None, 2.0),
        ("accepted_at", 2.0, 1.0, 1.0),
        ("accepted_at", 2.0, None, 2.0),
        ("attached_at", None, 1.0, 1.0),
        ("attached_at", 2.0, None, 2.0),
        ("greeted_at", 2.0, 1.0, 1.0),
        ("greeted_at", None, None, None),
        ("claimed_at", 2.0, 1.0, 2.0),
        ("handed_over_at", None, 1.0, None),
        ("failures", 0, 2, 0),
        ("agent", "shop", "night", "shop"),
        ("state", {"step": 2, "new": 1}, {"step": 1, "order": "B-1042"}, {"step": 2, "new": 1, "order": "B-1042"}),
        ("session", {"speed": 1.2}, {"speed": 1, "instructions": "x"}, {"speed": 1.2, "instructions": "x"}),
        ("tokens", 10, 100, 110),
        ("cost_usd", 0.25, 0.5, 0.75),
        ("transcript_lost", 1, 2, 3),
        ("items", 3, 7, 7),
        ("items", 7, 3, 7),
    ],
    ids=str,
)
def test_a_field_is_merged(name: str, ours: Any, stored: Any, merged: Any) -> None:
    """Each field by its own rule, and no other field changes with it."""
    mine, theirs = replace(OURS, **{name: ours}), replace(STORED, **{name: stored})
    assert merge(mine, theirs) == replace(OURS, epoch=theirs.epoch, **{name: merged} if name != "epoch" else {})


@pytest.mark.parametrize(
    ("ours", "stored", "stands"),
    [
        (entry(), entry(outcome="paid"), "stored"),
        (entry(outcome="paid again"), entry(started_at=1.0), "stored"),
        (entry(outcome="paid"), entry(), "ours"),
        (entry(outcome="looked up", idempotent=True), entry(started_at=1.0, outcome="old"), "ours"),
        (entry(idempotent=False), entry(started_at=1.0, idempotent=True), "stored"),
        (None, entry(), "stored"),
        (entry(), None, "ours"),
    ],
    ids=["ended", "started", "not started", "may run twice", "by our own word", "theirs alone", "ours alone"],
)
def test_a_journal_entry_is_merged(ours: JournalEntry | None, stored: JournalEntry | None, stands: str) -> None:
    """Where an earlier owner ran a tool that must not run twice, its entry stands, and else ours."""
    mine = replace(OURS, journal={"t1": ours} if ours else {})
    theirs = replace(STORED, journal={"t1": stored} if stored else {})
    assert merge(mine, theirs).journal["t1"] is (ours if stands == "ours" else stored)


def test_merging_changes_neither() -> None:
    """It is a function of two records, so that it can be tested as one."""
    mine, theirs = replace(OURS, state={"a": 1}, journal={"t1": entry()}), replace(STORED, state={"b": 1})
    before = deepcopy((mine, theirs))
    merge(mine, theirs)
    assert (mine, theirs) == before


def test_in_place_the_objects_stay() -> None:
    """The owner holds the record, and the agent its state and its session."""
    mine = replace(OURS, state={"step": 2}, session={"speed": 1.2})
    theirs = replace(STORED, state={"step": 1, "order": "B-1042"}, session={"instructions": "x"}, tokens=5)
    state, session, merged = mine.state, mine.session, merge(mine, theirs)
    merge_in_place(mine, theirs)
    assert all(getattr(mine, field.name) == getattr(merged, field.name) for field in fields(CallRecord))
    assert mine.state is state
    assert mine.session is session
