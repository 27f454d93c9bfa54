"""A claim, and how it stands: writable, lapsed until Pub/Sub has spoken, or lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Claim:
    """One leased notice: who has it owns the call, and writes while it `may_write`.

    writable ──no renewal in time──► lapsed ──Pub/Sub renews it──► writable
                                       └────Pub/Sub refuses, or stays silent for another lease──► lost

    What is to be written while the claim is lapsed waits for `verdict`. That a late renewal succeeds proves that nobody
    else had the call meanwhile: with exactly-once delivery, a notice that went to another has a new ack id, and
    Pub/Sub refuses the old one.
    """

    ack_id: str
    message_id: str
    data: bytes
    delivery_attempt: int
    """1 for the first delivery; 0 where the subscription has no dead-letter policy, so that nobody counts."""
    write_until: float = 0.0
    """By `time.monotonic`: before that, no other process can have the notice."""
    confirmed: bool = False
    """Whether a renewal ever succeeded. One that is not is for the last resort alone: see `LAST_ATTEMPT`."""
    lost: bool = False
    """Whether it is over for good: Pub/Sub refused it, or it was acknowledged or given back."""
    on_lost: Callable[[], None] = field(default=lambda: None)
    """Called once, when Pub/Sub or the clock has taken the claim; not when its owner has given it back."""
    call_id: str = ""
    """For the log; set by the owner, which reads the notice."""
    _changed: asyncio.Event | None = field(default=None, repr=False)
    """Set at each change; made for those who wait, since it is large and a lapse is rare."""

    def may_write(self) -> bool:
        """Tell whether no other process can have the notice yet."""
        return not self.lost and time.monotonic() < self.write_until

    async def verdict(self) -> bool:
        """Wait while the claim is lapsed; tell whether the call is ours.

        It answers at once, in the same step of the event loop, for a claim that may write or is lost, and about a lease
        after the lapse at the latest.
        """
        while not self.lost and not self.may_write():
            self._changed = self._changed or asyncio.Event()
            await self._changed.wait()
        return not self.lost

    def renew(self, write_until: float) -> None:
        """Note a renewal that succeeded, which never shortens an earlier one."""
        self.confirmed = True
        self.write_until = max(self.write_until, write_until)
        self._wake()

    def end(self) -> None:
        """Write nothing any more."""
        self.lost = True
        self._wake()

    def _wake(self) -> None:
        """Have those that wait look again."""
        if self._changed:
            self._changed.set()
            self._changed.clear()
