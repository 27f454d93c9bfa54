"""What is bounded: lines in the log, and who may wait."""

from __future__ import annotations

import threading
import time

import pytest

from function.concurrency import WAIT_SECONDS, Bulkhead
from function.errors import UnavailableError
from function.logs import Sampler


def test_of_each_kind_some_lines_are_kept_in_each_minute_and_the_rest_is_counted() -> None:
    now = [0.0]
    sampler = Sampler(lines=3, seconds=60, clock=lambda: now[0])
    assert [sampler.left_out("a") for _ in range(10)] == [0, 0, 0] + [None] * 7
    assert sampler.left_out("b") == 0
    now[0] = 60
    assert [sampler.left_out("a") for _ in range(4)] == [7, 0, 0, None]
    now[0] = 120
    assert sampler.left_out("a") == 1


def test_who_finds_all_places_taken_is_told_so_soon_and_a_place_comes_free_again() -> None:
    bulkhead = Bulkhead("it", 1)
    with bulkhead.place():
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="1 requests already wait for it"), bulkhead.place():
            pass
        assert time.monotonic() - began >= WAIT_SECONDS * 0.9
    with pytest.raises(OSError), bulkhead.place():
        raise OSError
    with bulkhead.place():
        pass


def test_a_short_wait_for_a_place_is_no_refusal() -> None:
    bulkhead = Bulkhead("it", 1)
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with bulkhead.place():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait()
    threading.Timer(WAIT_SECONDS / 5, leave.set).start()
    with bulkhead.place():
        pass
    thread.join()
