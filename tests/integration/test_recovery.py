"""A call outlives its owner: real processes, killed, stopped and frozen (architecture.md#invariants)."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from emulator.openai import Call, Entry
from emulator.system import System, local_system
from sideband._rig import entries, greetings, outputs
from supervisor.calls.tool_runner import UNKNOWN
from supervisor.outcomes import EndReason
from supervisor.records.opening import open_store
from supervisor.records.record import CallRecord
from tests.support.polling import until
from tests.support.processes import STAY, owner_of, seen
from tests.support.pubsub_servers import LONG_LEASE_SECONDS

LEASE_SECONDS = 10
RESTART_SECONDS = 60  # what a rolling restart takes at most, with other work on the machine
ASK: dict[str, Any] = {"caller": "Please."}


@asynccontextmanager
async def two_supervisors(
    tmp_path: Path, *, lease_seconds: int = LEASE_SECONDS, options: dict[str, Any] | None = None
) -> AsyncIterator[System]:
    """Run everything with supervisors A and B."""
    environment = {
        "LEASE_SECONDS": str(lease_seconds),
        "EFFECTS": str(tmp_path / "effects"),
        "GO": str(tmp_path / "go"),
        "RECORDS": f"sqlite:{tmp_path / 'records.sqlite'}",
    }
    async with local_system(agent="tests.support.agents:agent", options=options, environment=environment) as system:
        await asyncio.gather(system.start_function(), system.start_supervisor("A"), system.start_supervisor("B"))
        yield system


async def effects(tmp_path: Path, count: int) -> list[str]:
    """Give the effects, as soon as there are so many."""
    file = tmp_path / "effects"
    await until(lambda: file.exists() and len(file.read_text().splitlines()) >= count)
    return file.read_text().splitlines()


async def record_of(tmp_path: Path, call: Call) -> CallRecord:
    """Give the record of a call, as soon as it has its end."""
    store = open_store(f"sqlite:{tmp_path / 'records.sqlite'}", project="")

    async def ended() -> CallRecord | None:
        record = await store.read(call.call_id)
        return record if record and record.end_reason else None

    try:
        record: CallRecord = await until(ended, within_seconds=120)
    finally:
        await store.close()
    return record


def written_by(call: Call, who: str, after: Entry) -> list[Entry]:
    return [entry for entry in entries(call, "frame_in") if entry.who == who and entry.sequence > after.sequence]


async def test_crash_in_a_tool_to_run_once(tmp_path: Path) -> None:
    """A crash in a tool that must not run twice leaves its outcome unknown.

    The next owner tells the model that the outcome is unknown; the side effect has happened once.
    """
    async with two_supervisors(tmp_path) as system:
        call = await system.stand_in.place_call([ASK, {"tool": "pay"}, {"model": "I am not sure."}, {"hang_up": True}])
        await effects(tmp_path, 1)
        owner_of(system, call).send(signal.SIGKILL)
        record = await record_of(tmp_path, call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert list(outputs(call).values()) == [[UNKNOWN]]
        assert len(await effects(tmp_path, 1)) == 1
        assert record.epoch == 2
        assert greetings(call) == 1
        assert len(entries(call, "rest", "accept")) == 1


async def test_crash_in_an_idempotent_tool(tmp_path: Path) -> None:
    """After a crash in a tool that may run twice, it is run again.

    The next owner runs it again, under the same idempotency key, and answers once.
    """
    async with two_supervisors(tmp_path) as system:
        call = await system.stand_in.place_call([ASK, {"tool": "look"}, {"model": "There."}, {"hang_up": True}])
        await effects(tmp_path, 1)
        owner_of(system, call).send(signal.SIGKILL)
        first, second = [line.split() for line in await effects(tmp_path, 2)]
        (tmp_path / "go").touch()
        await record_of(tmp_path, call)
        assert first[1] == second[1]
        assert first[2] != second[2]
        assert list(outputs(call).values()) == [["seen"]]


async def test_crash_after_an_output_was_sent(tmp_path: Path) -> None:
    """After a crash between an output and the news of its arrival, it is not sent again.

    The next owner asks OpenAI for the output by its derived id, finds it, and does not send it again.
    """
    async with two_supervisors(tmp_path) as system:
        call = await system.stand_in.place_call([ASK, {"tool": "count"}, {"model": "One."}, STAY])
        system.stand_in.inject({"fault": "cut", "call_id": call.call_id, "on_client_event": "conversation.item.create"})
        await seen(system, call, "attach", "attach")
        system.stand_in.inject({"fault": "upgrade", "call_id": call.call_id, "status": 503, "times": 100})
        await seen(system, call, "refused", "503")
        owner_of(system, call).send(signal.SIGKILL)
        system.stand_in.forget_faults()
        await seen(system, call, "frame_in", "conversation.item.retrieve")
        call.hang_up()
        record = await record_of(tmp_path, call)
        assert list(outputs(call).values()) == [["1"]]
        (entry,) = record.journal.values()
        assert entry.confirmed
        assert record.state == {"count": 1}


async def test_an_unheard_tool_call_is_asked_for(tmp_path: Path) -> None:
    """A tool call that nobody heard is asked for once, after a silence.

    No event is replayed; the next owner notices the silence and asks the model to go on.
    """
    async with two_supervisors(tmp_path) as system:
        call = await system.stand_in.place_call(
            [{"wait_for": "greeting"}, {"pause_ms": 2500}, ASK, {"tool": "count"}, STAY]
        )
        await seen(system, call, "frame_out", "output_audio_buffer.stopped")
        owner_of(system, call).send(signal.SIGKILL)
        await seen(system, call, "frame_lost", "response.function_call_arguments.done")
        second = await seen(system, call, "attach", "attach", after=entries(call, "attach")[0].sequence)
        create = await seen(system, call, "frame_in", "response.create", after=second.sequence)
        await seen(system, call, "frame_out", "response.done", after=create.sequence)
        assert len(entries(call, "frame_in", "response.create")) == 2
        assert greetings(call) == 1


async def test_a_hand_over_leaves_no_gap(tmp_path: Path) -> None:
    """A stopped owner lets its tool finish, and hands over without a gap."""
    async with two_supervisors(tmp_path, lease_seconds=LONG_LEASE_SECONDS) as system:
        call = await system.stand_in.place_call([ASK, {"tool": "pay"}, {"model": "Paid."}, STAY])
        await effects(tmp_path, 1)
        first, owner = entries(call, "attach")[0], owner_of(system, call)
        stopping = asyncio.create_task(owner.stop(signal.SIGTERM))
        await owner.logged("stopping")
        (tmp_path / "go").touch()
        second = await seen(system, call, "attach", "attach", after=first.sequence)
        left = await seen(system, call, "detach", "detach", who=first.who)
        await stopping
        call.hang_up()
        record = await record_of(tmp_path, call)
        assert second.sequence < left.sequence, "the next owner attaches before the last one leaves"
        assert list(outputs(call).values()) == [["paid"]]
        assert written_by(call, first.who, second) == []
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert greetings(call) == 1
        assert owner.child.returncode == 0


async def test_a_hand_over_with_one_socket(tmp_path: Path) -> None:
    """A hand-over works where a second socket is refused, without waiting for a lease."""
    async with two_supervisors(
        tmp_path, lease_seconds=LONG_LEASE_SECONDS, options={"second_attach": "refuse"}
    ) as system:
        call = await system.stand_in.place_call([STAY])
        await seen(system, call, "frame_out", "output_audio_buffer.stopped")
        owner = owner_of(system, call)
        stopping = asyncio.create_task(owner.stop(signal.SIGTERM))
        left = await seen(system, call, "detach", "detach")
        await seen(system, call, "attach", "attach", after=left.sequence)
        await stopping
        call.hang_up()
        record = await record_of(tmp_path, call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert greetings(call) == 1


async def test_a_thawed_owner_writes_nothing(tmp_path: Path) -> None:
    """An owner that was frozen for longer than its lease writes nothing when it wakes.

    It wakes with a tool's outcome in its hands; the next owner has long told the model that it is unknown.
    """
    async with two_supervisors(tmp_path) as system:
        call = await system.stand_in.place_call([ASK, {"tool": "pay"}, {"model": "I am not sure."}, STAY])
        await effects(tmp_path, 1)
        first, owner = entries(call, "attach")[0], owner_of(system, call)
        owner.send(signal.SIGSTOP)
        second = await seen(system, call, "attach", "attach", after=first.sequence)
        (tmp_path / "go").touch()
        await seen(system, call, "frame_in", "response.create", after=second.sequence)
        owner.send(signal.SIGCONT)
        await owner.logged("let_go")
        assert written_by(call, first.who, second) == []
        assert list(outputs(call).values()) == [[UNKNOWN]]
        another = await system.stand_in.place_call([STAY])
        await seen(system, another, "attach", "attach")
        assert owner.running


@pytest.mark.timeout(300)
async def test_a_rolling_restart_loses_no_call(tmp_path: Path) -> None:
    """A rolling restart under two hundred calls loses none.

    Every supervisor is replaced by SIGTERM; no caller is greeted twice, and every call's state is intact.
    """
    script = [{"wait_for": "greeting"}, ASK, {"tool": "count"}, {"model": "One."}, {"pause_ms": RESTART_SECONDS * 1000}]
    script += [ASK, {"tool": "count"}, {"model": "Two."}, {"hang_up": True}]
    async with two_supervisors(tmp_path) as system:
        calls = [await system.stand_in.place_call(script) for _ in range(200)]
        for call in calls:
            await seen(system, call, "frame_in", "conversation.item.create")
        for name, old in [("C", system.processes[1]), ("D", system.processes[2])]:
            await system.start_supervisor(name)
            await old.stop(signal.SIGTERM)
            assert old.child.returncode == 0
        for call in calls:
            record = await record_of(tmp_path, call)
            assert record.end_reason is EndReason.CALLER_HUNG_UP
            assert record.state == {"count": 2}
            assert greetings(call) == 1
            assert sorted(output for sent in outputs(call).values() for output in sent) == ["1", "2"]
