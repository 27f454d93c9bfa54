"""The main job with real processes: a webhook rings, a supervisor owns the call, a tool answers, whoever dies."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from emulator.system import System, local_system
from sideband._rig import entries, greetings, outputs
from tests.support.openai_types import check_client_event, check_server_event
from tests.support.processes import CALL_SECONDS, STAY, owner_of, seen
from tests.support.pubsub_servers import LONG_LEASE_SECONDS, PubsubServer

LEASE_SECONDS = 10
Script = list[dict[str, Any]]

ORDER: Script = [
    {"caller": "Is my bike ready? The order is B-1042."},
    {"tools": [{"tool": "order_status", "arguments": {"order_id": n}} for n in ("B-1042", "B-1077")]},
    {"caller": "Thank you, goodbye."},
    {"tool": "hang_up"},
]


@asynccontextmanager
async def system_on(pubsub: str, *supervisors: str, lease_seconds: int = LEASE_SECONDS) -> AsyncIterator[System]:
    """Run everything with these supervisors on a Pub/Sub; they may take longer to stop than a test waits for it."""
    environment = {"LEASE_SECONDS": str(lease_seconds), "HANDOVER_SECONDS": "600"}
    async with local_system(agent="examples.bikes:agent", pubsub=pubsub, environment=environment) as system:
        await asyncio.gather(system.start_function(), *(system.start_supervisor(name) for name in supervisors))
        yield system


async def test_calls_are_answered_to_the_end(pubsub_server: PubsubServer) -> None:
    """Calls are answered from webhook to hang-up.

    Three calls at once on two supervisors; every frame and body is what OpenAI's own types say.
    """
    async with system_on(pubsub_server.host_port, "A", "B") as system:
        calls = [await system.stand_in.place_call(ORDER) for _ in range(3)]
        for call in calls:
            assert await call.ended(CALL_SECONDS) == "hangup"
            (accept,) = entries(call, "rest", "accept")
            assert accept.payload["status"] == 200
            assert [entry.type for entry in entries(call, "frame_in")][:2] == ["session.update", "response.create"]
            assert greetings(call) == 1
            assert ["B-10" in answer for sent in outputs(call).values() for answer in sent] == [True] * 2
            for entry in entries(call, "frame_in"):
                check_client_event(dict(entry.payload))
            for entry in entries(call, "frame_out"):
                check_server_event(dict(entry.payload))
        for process in system.processes[1:]:
            assert not [line for line in process.lines if line.get("severity") in {"ERROR", "CRITICAL"}]


async def test_a_killed_owner_is_followed(pubsub_server: PubsubServer) -> None:
    """A killed owner is followed by another when its lease has run out.

    After kill -9 another attaches, greets nobody again, and the dead one has written nothing since.
    """
    async with system_on(pubsub_server.host_port, "A", "B") as system:
        call = await system.stand_in.place_call([{"pause_ms": 500}, *ORDER[:2], STAY])
        await seen(system, call, "frame_out", "output_audio_buffer.stopped")
        first = entries(call, "attach")[0]
        owner_of(system, call).send(signal.SIGKILL)
        second = await seen(system, call, "attach", "attach", after=first.sequence)
        assert second.who != first.who
        await seen(system, call, "frame_in", "session.update", after=second.sequence)
        call.hang_up()
        await owner_of(system, call).logged("ended")
        assert greetings(call) == 1
        late = [entry for entry in entries(call, "frame_in") if entry.sequence > second.sequence]
        assert {entry.who for entry in late} == {second.who}


async def test_a_stopped_owner_hands_over(pubsub_server: PubsubServer) -> None:
    """After SIGTERM the call has its next owner, and the process is gone, long before lease or deadline run out."""
    async with system_on(pubsub_server.host_port, "A", "B", lease_seconds=LONG_LEASE_SECONDS) as system:
        call = await system.stand_in.place_call([STAY])
        await seen(system, call, "frame_out", "output_audio_buffer.stopped")
        first = entries(call, "attach")[0]
        owner = owner_of(system, call)
        await owner.stop(signal.SIGTERM)
        assert owner.child.returncode == 0
        second = await seen(system, call, "attach", "attach", after=first.sequence)
        assert second.who != first.who
        await seen(system, call, "frame_in", "session.update", after=second.sequence)
        assert greetings(call) == 1


async def test_a_call_goes_on_after_a_lost_socket() -> None:
    """A lost socket is attached again, and the call goes on."""
    async with system_on("embedded", "A") as system:
        call = await system.stand_in.place_call([{"wait_for": "greeting"}, {"pause_ms": 1500}, *ORDER])
        await seen(system, call, "frame_out", "output_audio_buffer.stopped")
        system.stand_in.inject({"fault": "cut", "call_id": call.call_id})
        assert await call.ended(CALL_SECONDS) == "hangup"
        assert call.attaches == 2
        assert greetings(call) == 1
        assert len(entries(call, "rest", "accept")) == 1


async def test_a_caller_gone_early_is_missed() -> None:
    """A caller who is gone before the accept is recorded as missed."""
    async with system_on("embedded") as system:
        call = await system.stand_in.place_call([])
        await seen(system, call, "webhook", "realtime.call.incoming")
        call.hang_up()
        supervisor = await system.start_supervisor()
        assert (await supervisor.logged("ended"))["reason"] == "missed"
        assert call.attaches == 0


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"OPENAI_API_KEY": "sk-1"}, "GOOGLE_CLOUD_PROJECT"),
        (
            {
                "OPENAI_API_KEY": "sk-1",
                "GOOGLE_CLOUD_PROJECT": "shop",
                "CALLS_SUBSCRIPTION": "calls",
                "SIDEBAND_AGENT": "no_such:agent",
            },
            "no module named 'no_such'",
        ),
        (
            {
                "OPENAI_API_KEY": "sk-1",
                "GOOGLE_CLOUD_PROJECT": "shop",
                "CALLS_SUBSCRIPTION": "calls",
                "SIDEBAND_AGENT": "examples.bikes:agent",
                "HOME": "/nonexistent",
                "NO_GCE_CHECK": "true",
            },
            "Or set PUBSUB_EMULATOR_HOST.",
        ),
    ],
)
async def test_start_failures_are_one_line(environment: dict[str, str], says: str) -> None:
    """What prevents a start is said in one line."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "supervisor", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await child.communicate()
    assert child.returncode == 2
    assert says in stderr.decode()
    assert stderr.count(b"\n") == 1
