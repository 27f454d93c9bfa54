"""The stand-in's log: in order, bounded, and waited for."""

import asyncio

import pytest

from emulator.openai.log import Log


def test_the_oldest_entries_go_first() -> None:
    """The oldest entries are dropped first; at least `keep` stay, and sequence numbers still find them."""
    log = Log(keep=10)
    for number in range(35):
        log.add("note", str(number), {})
        assert len(log) >= min(number + 1, 10)
    assert len(log) < 20
    assert [entry.type for entry in log.after(33)] == ["33", "34"]
    assert log.after(0) == list(log)
    assert log.after(35) == []


async def test_an_entry_is_waited_for() -> None:
    """Who waits for an entry gets the first that fits."""
    log = Log(keep=10)
    log.add("note", "before", {})
    waiting = asyncio.create_task(log.wait_for(lambda entry: entry.type == "wanted"), name="wait")
    for kind in ("other", "wanted", "later"):
        await asyncio.sleep(0)
        log.add("note", kind, {})
    assert (await waiting).sequence == 3


async def test_nobody_waits_for_ever() -> None:
    """Waiting for an entry ends after its time limit."""
    log = Log(keep=10)
    with pytest.raises(TimeoutError):
        await log.wait_for(lambda _: True, timeout_seconds=0.01)
    assert await log.wait_after(0, timeout_seconds=0.01) == []
