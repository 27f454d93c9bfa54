"""A call's record: as JSON and back, who may open it, and what of its state JSON can't hold."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.outcomes import EndReason
from supervisor.records.record import ENTRY, SEGMENT, CallRecord, JournalEntry, Segment

ENTRY_OF_T1 = JournalEntry("t1", "pay", '{"eur": 5}', started_at=1.0, outcome="paid", confirmed=True)
SEGMENT_OF_I1 = Segment("i1", "caller", "Hello?", 2.5, order=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def record(**more: Any) -> CallRecord:
    return CallRecord(call_id="rtc_1", message_id="m1", **more)


def test_a_round_trip() -> None:
    """A record that was stored in parts is what it was."""
    whole = record(
        epoch=3,
        accepted_at=1.5,
        end_reason=EndReason.CALLER_HUNG_UP,
        caller="+31201234567",
        state={"order": {"id": "B-1042"}},
        journal={"t1": ENTRY_OF_T1},
        transcript=[SEGMENT_OF_I1],
    )
    journal, transcript = [ENTRY.dump_json(ENTRY_OF_T1).decode()], [SEGMENT.dump_json(SEGMENT_OF_I1).decode()]
    assert CallRecord.of_head(whole.head()).with_parts(journal, transcript) == whole


def test_the_head_has_no_parts() -> None:
    """The head is all but the journal and the transcript, which grow."""
    names = {field.name for field in fields(CallRecord)} - {"journal", "transcript"}
    assert set(json.loads(record(journal={"t1": ENTRY_OF_T1}, transcript=[SEGMENT_OF_I1]).head())) == names


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_state_of_any_json(state: dict[str, object]) -> None:
    """Whatever JSON knows, of any depth and size, comes back as it was, and counts as neither wrong nor changed."""
    kept = record(state=state)
    if kept.not_json():  # half an emoji, which is text to Python alone
        return
    assert CallRecord.of_head(kept.head()).state == state
    assert kept.changed_by_json() == frozenset()


def test_large_numbers_and_depth() -> None:
    """Numbers of any size and values of great depth, which fast parsers refuse, come back as they were."""
    deep: object = "bottom"
    for _ in range(200):
        deep = [deep]
    state = {"large": 2**200 + 1, "deep": deep}
    assert CallRecord.of_head(record(state=state).head()).state == state


@pytest.mark.parametrize(
    ("message_id", "end_reason", "may"),
    [("m1", None, True), ("m2", None, False), ("m1", EndReason.MISSED, False)],
    ids=["its message", "another message", "ended"],
)
def test_may_be_opened_by(message_id: str, end_reason: EndReason | None, may: bool) -> None:
    """A record may be opened by an owner with its message, until the call has ended."""
    assert record(end_reason=end_reason).may_be_opened_by(message_id) is may


def test_what_is_not_json() -> None:
    """Keys whose values JSON can't hold are named, and only these."""
    mixed = record(state={"lock": object(), "emoji": "\ud83d", "name": "Ada", "date": datetime.now(UTC)})
    assert mixed.not_json() == {"lock", "emoji"}
    with pytest.raises(ValueError, match="serialize"):
        mixed.head()


def test_what_json_changes() -> None:
    """Keys whose values come back as something else are named; those that do not come back at all are not."""
    mixed = record(state={"tuple": (1, 2), "set": {1}, "nested": [{"a": (1,)}], "list": [1], "lock": object()})
    assert mixed.changed_by_json() == {"tuple", "set", "nested"}


@pytest.mark.parametrize(
    "head", ["", "{}", "[]", '{"call_id": "rtc_1"}', '{"call_id": "c", "message_id": "m", "epoch": "x"}']
)
def test_what_is_no_head(head: str) -> None:
    """What is not the head of a record is refused."""
    with pytest.raises(ValueError):
        CallRecord.of_head(head)
