"""A limit on how many requests wait for one thing.

When it is away, threads are left for the other requests.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from function.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator


WAIT_SECONDS = 0.5  # a burst passes in less; an outage does not


class ConcurrencyLimit:
    """Lets so many requests wait for something at once.

    Args:
        name: What they wait for.
        max_waiting: How many may.
    """

    def __init__(self, name: str, max_waiting: int) -> None:
        self._name = name
        self._slots = threading.BoundedSemaphore(max_waiting)
        self._max_waiting = max_waiting

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot for the block.

        Raises:
            UnavailableError: all slots are taken, and still are after half a second.
        """
        if not self._slots.acquire(timeout=WAIT_SECONDS):
            raise UnavailableError("busy", f"{self._max_waiting} requests already wait for {self._name}")
        try:
            yield
        finally:
            self._slots.release()
