"""How a call comes to a new owner.

Whether it had one before, and how that one left it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from supervisor.records.record import CallRecord

OVERLAP_SECONDS = 0.7  # how long a handed-over call is still listened to, unless its next owner is there sooner
SHORT_SECONDS = 60.0  # an owner that left this soon without a hand-over has failed


class Before(Enum):
    """What became of the last owner, as far as anybody knows."""

    NOBODY = "the call had no owner"
    HANDED_OVER = "it handed the call over"
    CRASHED = "it left without a word"
    UNKNOWN = "there was one, and the record that would say more is out of reach"


@dataclass(frozen=True, slots=True)
class Takeover:
    """How the last owner left a call."""

    before: Before
    handed_over_at: float | None = None
    """When it stopped to listen, in Unix seconds, if it handed the call over."""
    mid_word: bool = False
    """Whether a word or an answer was on its way then, or may have been."""
    failed: bool = False
    """Whether it crashed soon after it began, so that the call itself may be the cause."""

    @classmethod
    def of(cls, record: CallRecord, now: float, *, provisional: bool, delivery_attempt: int) -> Takeover:
        """Read from a record how its last owner left.

        The next owner must not have written into it yet.

        Args:
            record: as the next owner opened it, with the epoch that it has now.
            now: Unix seconds.
            provisional: whether the store could not be asked, so that the record knows of no owner.
            delivery_attempt: of the notice, as Pub/Sub counts: above 1, the call has been claimed before.
        """
        if provisional:
            return cls(Before.UNKNOWN if delivery_attempt > 1 else Before.NOBODY)
        if record.epoch <= 1:
            return cls(Before.NOBODY)
        if record.handed_over_at is not None:
            return cls(Before.HANDED_OVER, handed_over_at=record.handed_over_at, mid_word=record.busy)
        soon = now - (record.claimed_at or now) < SHORT_SECONDS
        return cls(Before.CRASHED, mid_word=True, failed=soon)

    @property
    def first_owner(self) -> bool:
        """Whether nobody owned the call before."""
        return self.before is Before.NOBODY

    @property
    def maybe_accepted(self) -> bool:
        """Whether an owner may have accepted the call, and died before it said so."""
        return self.before in {Before.CRASHED, Before.UNKNOWN}

    def may_have_missed(self, now: float) -> bool:
        """Tell whether something may have been said that nobody heard."""
        return self.mid_word or (self.handed_over_at is not None and now - self.handed_over_at > OVERLAP_SECONDS)
