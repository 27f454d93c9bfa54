"""A bound on how many requests wait for one thing, so that an outage of it does not hold all threads."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from function.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator


WAIT_SECONDS = 0.5  # a burst passes in less; an outage does not


class Bulkhead:
    """Lets so many in at once; who finds it full, and still does half a second later, is told to come again."""

    def __init__(self, name: str, places: int) -> None:
        self._name = name
        self._places = threading.BoundedSemaphore(places)
        self._count = places

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for the block.

        Raises:
            UnavailableError: all places are taken.
        """
        if not self._places.acquire(timeout=WAIT_SECONDS):
            raise UnavailableError("busy", f"{self._count} requests already wait for {self._name}")
        try:
            yield
        finally:
            self._places.release()
