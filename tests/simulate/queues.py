"""What is waited for: servers, first come, first served; and quotas of a minute."""

from __future__ import annotations

import heapq
from collections import Counter


class Queue:
    """Servers with one queue, first come, first served, worked out without events."""

    def __init__(self, servers: int) -> None:
        self._free_at = [0.0] * servers
        """A heap: when each server will have served those who have joined so far."""

    @property
    def servers(self) -> int:
        """Say how many there are."""
        return len(self._free_at)

    def join(self, now: float, service_seconds: float) -> float:
        """Join the queue; returns in how many seconds one will have been served.

        `now` must not be less than in an earlier call.
        """
        begins = max(now, self._free_at[0])
        heapq.heapreplace(self._free_at, begins + service_seconds)
        return begins + service_seconds - now

    def add(self, servers: int, now: float) -> None:
        """Add free servers; those who have joined keep their places."""
        for _ in range(servers):
            heapq.heappush(self._free_at, now)


class Quota:
    """So many in each full minute; the rest is refused."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._taken: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        """What was refused in each minute."""

    def take(self, now: float, count: int) -> bool:
        """Take so many, or none where the minute has fewer left."""
        minute = int(now // 60)
        if self._taken[minute] + count > self._per_minute:
            self.refused[minute] += count
            return False
        self._taken[minute] += count
        return True

    def left(self, now: float) -> float:
        """Say how many may still be taken in this minute."""
        return self._per_minute - self._taken[int(now // 60)]

    @staticmethod
    def renewed_at(now: float) -> float:
        """Say when the next minute begins."""
        return 60 * (now // 60 + 1)

    @property
    def peak(self) -> int:
        """Say how many were asked for in the busiest minute, refused ones included."""
        return max((self._taken + self.refused).values(), default=0)
