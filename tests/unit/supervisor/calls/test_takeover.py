"""How a call comes to its next owner, read from its record."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.calls.takeover import OVERLAP_SECONDS, SHORT_SECONDS, Before, Takeover
from supervisor.records.record import CallRecord

NOW = 1_000_000.0


def takeover(*, provisional: bool = False, delivery_attempt: int = 1, **fields: Any) -> Takeover:
    record = CallRecord(call_id="call", message_id="message", **fields)
    return Takeover.of(record, NOW, provisional=provisional, delivery_attempt=delivery_attempt)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"epoch": 1}, Takeover(Before.NOBODY)),
        ({"epoch": 1, "delivery_attempt": 3}, Takeover(Before.NOBODY)),
        ({"epoch": 2, "handed_over_at": NOW - 1}, Takeover(Before.HANDED_OVER, handed_over_at=NOW - 1)),
        (
            {"epoch": 2, "handed_over_at": NOW - 1, "busy": True},
            Takeover(Before.HANDED_OVER, handed_over_at=NOW - 1, mid_word=True),
        ),
        (
            {"epoch": 7, "handed_over_at": NOW - 1, "claimed_at": NOW - 2},
            Takeover(Before.HANDED_OVER, handed_over_at=NOW - 1),
        ),
        ({"epoch": 2, "claimed_at": NOW - 1}, Takeover(Before.CRASHED, mid_word=True, failed=True)),
        (
            {"epoch": 2, "claimed_at": NOW - SHORT_SECONDS + 1},
            Takeover(Before.CRASHED, mid_word=True, failed=True),
        ),
        ({"epoch": 2, "claimed_at": NOW - SHORT_SECONDS}, Takeover(Before.CRASHED, mid_word=True)),
        ({"epoch": 2}, Takeover(Before.CRASHED, mid_word=True, failed=True)),
        ({"epoch": 0, "provisional": True, "delivery_attempt": 1}, Takeover(Before.NOBODY)),
        ({"epoch": 0, "provisional": True, "delivery_attempt": 0}, Takeover(Before.NOBODY)),
        ({"epoch": 0, "provisional": True, "delivery_attempt": 2}, Takeover(Before.UNKNOWN)),
    ],
    ids=[
        "new call",
        "new call, notice delivered before",
        "handed over",
        "handed over in a word",
        "handed over soon",
        "crashed at once",
        "crashed within a minute",
        "crashed after a minute",
        "crashed before it said when it began",
        "no record, first delivery",
        "no record, nobody counts deliveries",
        "no record, delivered before",
    ],
)
def test_takeover_of(fields: dict[str, Any], expected: Takeover) -> None:
    """The record says it; while it is out of reach, Pub/Sub's count of deliveries does."""
    assert takeover(**fields) == expected


@pytest.mark.parametrize(
    ("before", "first_owner", "maybe_accepted"),
    [
        (Before.NOBODY, True, False),
        (Before.HANDED_OVER, False, False),
        (Before.CRASHED, False, True),
        (Before.UNKNOWN, False, True),
    ],
)
def test_what_follows(before: Before, first_owner: bool, maybe_accepted: bool) -> None:
    """Only an owner that could not say so may have accepted a call unknown to its record."""
    found = Takeover(before)
    assert (found.first_owner, found.maybe_accepted) == (first_owner, maybe_accepted)


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        (Takeover(Before.NOBODY), False),
        (Takeover(Before.UNKNOWN), False),
        (Takeover(Before.CRASHED, mid_word=True), True),
        (Takeover(Before.HANDED_OVER, handed_over_at=NOW - OVERLAP_SECONDS / 2), False),
        (Takeover(Before.HANDED_OVER, handed_over_at=NOW - OVERLAP_SECONDS * 2), True),
        (Takeover(Before.HANDED_OVER, handed_over_at=NOW, mid_word=True), True),
    ],
    ids=["new", "unknown", "crashed", "within the overlap", "after the overlap", "in a word"],
)
def test_may_have_missed(found: Takeover, missed: bool) -> None:
    """After a hand-over the last owner still listens for a moment; what is said later is heard by nobody."""
    assert found.may_have_missed(NOW) is missed
