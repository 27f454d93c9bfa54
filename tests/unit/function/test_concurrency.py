"""How many requests wait for one thing."""

from __future__ import annotations

import threading
import time

import pytest

from function.concurrency import WAIT_SECONDS, ConcurrencyLimit
from function.errors import UnavailableError


def test_a_full_limit_refuses() -> None:
    """Who finds all slots taken is refused after a short wait; each slot comes free again, also after an error."""
    limit = ConcurrencyLimit("it", 1)
    with limit.slot():
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="1 requests already wait for it"), limit.slot():
            pass
        assert time.monotonic() - began >= WAIT_SECONDS * 0.9
    with pytest.raises(OSError), limit.slot():
        raise OSError
    with limit.slot():
        pass


def test_a_short_wait_is_no_refusal() -> None:
    """Who gets a slot after a short wait is not refused."""
    limit = ConcurrencyLimit("it", 1)
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with limit.slot():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait()
    threading.Timer(WAIT_SECONDS / 5, leave.set).start()
    with limit.slot():
        pass
    thread.join()
