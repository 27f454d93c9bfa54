"""What a flush has confirmed is in the store, whatever fails and whoever opens the record in between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.records.handle import RecordHandle
from supervisor.records.record import CallRecord, JournalEntry, Segment
from supervisor.records.writer import RecordWriter
from tests.support.faulty_store import FaultyStore, Mode

CALLS = 3
calls = st.integers(0, CALLS - 1)
modes = st.sampled_from(Mode)
steps = st.one_of(
    st.tuples(st.sampled_from(["journal", "said", "state", "flush", "others open"]), calls),
    st.tuples(st.just("write"), modes),
)


@dataclass
class Confirmed:
    """What a record had when a flush of it began."""

    tool_call_ids: list[str]
    item_ids: list[str]
    state: int

    def is_in(self, stored: CallRecord) -> bool:
        """Whether the store has it, or something later."""
        item_ids = [segment.item_id for segment in stored.transcript]
        return (
            list(stored.journal)[: len(self.tool_call_ids)] == self.tool_call_ids
            and item_ids[: len(self.item_ids)] == self.item_ids
            and stored.state.get("number", 0) >= self.state
        )


class Played:
    """One call, and what was done with it."""

    def __init__(self, handle: RecordHandle) -> None:
        self.handle = handle
        self.done = Confirmed([], [], 0)
        self.flushes: list[tuple[asyncio.Task[bool], Confirmed]] = []

    def step(self, name: str, number: int) -> None:
        match name:
            case "journal":
                self.handle.journal(JournalEntry(tool_call_id=f"t{number}", name="pay", arguments="{}"))
                self.done.tool_call_ids.append(f"t{number}")
            case "said":
                self.handle.said(Segment(item_id=f"i{number}", role="agent", text="Hello", at=number))
                self.done.item_ids.append(f"i{number}")
            case "state":
                self.handle.record.state["number"] = self.done.state = number
                self.handle.changed()
            case "flush":
                now = Confirmed([*self.done.tool_call_ids], [*self.done.item_ids], self.done.state)
                self.flushes.append((asyncio.create_task(self.handle.flush(60)), now))


@settings(max_examples=150, deadline=None)
@given(st.lists(modes, min_size=CALLS, max_size=CALLS), st.lists(steps, max_size=40))
def test_what_is_confirmed_is_stored(at_opening: list[Mode], play: list[tuple[str, int | Mode]]) -> None:
    """What a flush has confirmed is in the store, whatever fails and whoever opens the record in between."""
    asyncio.run(_play(at_opening, play))


async def _play(at_opening: list[Mode], play: list[tuple[str, int | Mode]]) -> None:
    store = FaultyStore()
    record_writer = RecordWriter(store)
    played = []
    for number, store.mode in enumerate(at_opening):
        played.append(Played(await record_writer.open(f"call-{number}", "message", within_seconds=1)))
    for number, (name, what) in enumerate(play, start=1):
        if isinstance(what, Mode):
            store.mode = what
            await _write(record_writer)
        elif name == "others open":
            store.mode = Mode.WELL
            await store.open(f"call-{what}", "message")
        else:
            played[what].step(name, number)
        await _check(played, store)
    store.mode = Mode.WELL
    await _write(record_writer)
    await _check(played, store)
    for call in played:
        assert all(flush.done() for flush, _ in call.flushes)
        if call.handle.unwritten.changes and not call.handle.stale:
            stored = store.look(call.handle.record.call_id)
            assert list(stored.journal) == call.done.tool_call_ids
            assert [segment.item_id for segment in stored.transcript] == call.done.item_ids
            assert stored.state.get("number", 0) == call.done.state


async def _write(record_writer: RecordWriter) -> None:
    await record_writer._open_all()
    await record_writer._write_batch()


async def _check(played: list[Played], store: FaultyStore) -> None:
    """Hold every flush that has ended to its answer."""
    for _ in range(3):
        await asyncio.sleep(0)  # so that flushes that may end do
    for call in played:
        for flush, confirmed in call.flushes:
            if flush.done():
                kept = not (confirmed.tool_call_ids or confirmed.item_ids or confirmed.state) or confirmed.is_in(
                    store.look(call.handle.record.call_id)
                )
                assert kept or not flush.result()
