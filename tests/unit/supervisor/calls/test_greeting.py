"""The greeting: once in a call's life, whoever owns it, and uninterrupted where the agent wants that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sideband import Agent
from supervisor.calls import greeting as under_test
from supervisor.calls.call_control import AttachedCallControl
from supervisor.calls.greeting import Greeting
from supervisor.records import writer as records
from supervisor.records.record import CallRecord
from supervisor.records.writer import RecordWriter
from tests.support.call_context import Frames, call_context
from tests.support.faulty_store import FaultyStore, Mode
from tests.support.records import SOON, running

SESSION: dict[str, Any] = {"model": "gpt-realtime-2.1"}
GREETER = Agent(session=SESSION, greeting="Say hello.")
UNINTERRUPTIBLE = Agent(session=SESSION, greeting="Say hello.", greeting_uninterruptible=True)
DEAF = {"turn_detection": None}
LISTENING = {"turn_detection": {"type": "server_vad"}}


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


@pytest.fixture
def writer(store: FaultyStore) -> RecordWriter:
    return RecordWriter(store)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "FLUSH_SECONDS", 0.05)
    monkeypatch.setattr(records, "RETRY_SECONDS", 0.01)


async def greeting_of(
    agent: Agent, writer: RecordWriter, frames: Frames | None = None, *, delivery_attempt: int = 1, **recorded: Any
) -> Greeting:
    """Make the greeting of a call whose record has these fields; one that the store could not open is provisional."""
    handle = await writer.open("call", "message", within_seconds=SOON)
    for name, value in recorded.items():
        setattr(handle.record, name, value)
    context = call_context(agent, handle, frames or Frames())
    context.claim.delivery_attempt = delivery_attempt
    return Greeting(context, AttachedCallControl(context))


@pytest.mark.parametrize(
    ("agent", "mode", "delivery_attempt", "recorded", "due"),
    [
        (GREETER, Mode.WELL, 1, {}, True),
        (GREETER, Mode.WELL, 3, {}, True),
        (GREETER, Mode.WELL, 1, {"greeted_at": 1.0}, False),
        (GREETER, Mode.DOWN, 1, {}, True),
        (GREETER, Mode.DOWN, 2, {}, False),
        (Agent(session=SESSION), Mode.WELL, 1, {}, False),
    ],
    ids=["new", "delivered before", "greeted", "store down", "store down, delivered before", "no greeting"],
)
async def test_due(
    store: FaultyStore,
    writer: RecordWriter,
    *,
    agent: Agent,
    mode: Mode,
    delivery_attempt: int,
    recorded: dict[str, Any],
    due: bool,
) -> None:
    """A greeting is due until the record, or Pub/Sub while it is out of reach, tells of an earlier owner's."""
    store.mode = mode
    assert (await greeting_of(agent, writer, delivery_attempt=delivery_attempt, **recorded)).due is due


@pytest.mark.parametrize(
    ("agent", "recorded", "audio_input"),
    [
        (GREETER, {}, None),
        (UNINTERRUPTIBLE, {}, DEAF),
        (UNINTERRUPTIBLE, {"greeted_at": 1.0}, LISTENING),
    ],
    ids=["interruptible", "not yet greeted", "greeted"],
)
async def test_first_session(
    writer: RecordWriter, agent: Agent, recorded: dict[str, Any], audio_input: dict[str, Any] | None
) -> None:
    """While nothing may interrupt the greeting, the session is deaf; a later owner's listens again."""
    session = (await greeting_of(agent, writer, **recorded)).first_session()
    assert (session.get("audio") or {}).get("input") == audio_input


async def test_greet(store: FaultyStore, writer: RecordWriter) -> None:
    """That the caller is greeted is stored before the greeting is sent; a second time nothing is sent."""
    stored: list[CallRecord] = []
    frames = Frames(on_send=lambda _frame: stored.append(store.look("call")))
    greeting = await greeting_of(GREETER, writer, frames)
    async with running(writer):
        await greeting.greet()
        await greeting.greet()
    (frame,) = frames.sent
    assert frame["response"]["instructions"] == "Say hello."
    assert stored[0].greeted_at == greeting.context.handle.record.greeted_at


@pytest.mark.parametrize(("delivery_attempt", "greeted"), [(1, True), (2, False)], ids=["first", "second delivery"])
async def test_greet_while_the_store_is_down(
    store: FaultyStore, writer: RecordWriter, delivery_attempt: int, greeted: bool
) -> None:
    """While nothing can be written, only an owner that is surely the first one greets."""
    greeting = await greeting_of(GREETER, writer, frames := Frames(), delivery_attempt=delivery_attempt)
    store.mode = Mode.DOWN
    async with running(writer):
        await greeting.greet()
    assert bool(frames.sent) is greeted


async def test_the_record_tells_late_of_a_greeting(writer: RecordWriter) -> None:
    """An owner that learns while it writes that another has greeted does not greet, and listens."""
    greeting = await greeting_of(UNINTERRUPTIBLE, writer, frames := Frames())
    handle = greeting.context.handle

    def merge_late() -> None:
        handle.record.greeted_at = 1.0
        handle.unwritten.finish(handle.unwritten.changes)

    asyncio.get_running_loop().call_soon(merge_late)
    await greeting.greet()
    (frame,) = frames.sent
    assert (frame["type"], frame["session"]["audio"]["input"]) == ("session.update", LISTENING)


async def test_listen_after_the_greeting(writer: RecordWriter) -> None:
    """The caller may interrupt once the greeting was heard, and not sooner."""
    greeting = await greeting_of(UNINTERRUPTIBLE, writer, frames := Frames())
    async with running(writer), greeting.context.tasks:
        await greeting.greet()
        assert (await frames.next())["type"] == "response.create"
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(frames.sent) == 1
        greeting.control.on_silence()
        assert (await frames.next())["session"]["audio"]["input"] == LISTENING
