"""How soon a call has its next owner, as a ratio to what that owner had to wait for in the same run."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from google.pubsub_v1.types import PubsubMessage, Subscription

from emulator.pubsub.topology import clients
from emulator.system import System, local_system
from sideband._rig import entries
from tests.support.processes import STAY, owner_of, seen

if TYPE_CHECKING:
    from emulator.openai import Call

LEASE_SECONDS = 10
OF_A_LEASE = 1.3
"""A dead owner's lease was renewed at the latest when it died; a pull and an attach come on top."""
OF_A_PAUSE = 4.0
"""The next owner asks again after a jittered pause; one may have begun just before the last owner left."""


async def attached_call(system: System) -> Call:
    """Start two supervisors, and place a call that one of them greets."""
    await asyncio.gather(*(system.start_supervisor(name) for name in "AB"), system.start_function())
    call = await system.stand_in.place_call([STAY])
    await seen(system, call, "frame_out", "output_audio_buffer.stopped")
    return call


async def lease_of(system: System) -> float:
    """Hold a message of one's own, and measure how long until it comes again, in seconds."""
    project = f"projects/{system.environment['GOOGLE_CLOUD_PROJECT']}"
    topic, subscription = f"{project}/topics/measured", f"{project}/subscriptions/measured"
    async with clients(system.pubsub) as (publisher, subscriber):
        await publisher.create_topic(name=topic)
        wanted = Subscription(name=subscription, topic=topic, ack_deadline_seconds=LEASE_SECONDS)
        await subscriber.create_subscription(request=wanted)
        await publisher.publish(topic=topic, messages=[PubsubMessage(data=b"held")])
        began = time.monotonic()
        for _ in range(2):
            answer = await subscriber.pull(subscription=subscription, max_messages=1, timeout=60, retry=None)
            assert answer.received_messages
    return time.monotonic() - began


@pytest.mark.timeout(180)
async def test_a_crash_costs_one_lease() -> None:
    """A killed owner's call has its next owner as soon as a lease has run out."""
    async with local_system(agent="examples.bikes:agent", environment={"LEASE_SECONDS": str(LEASE_SECONDS)}) as system:
        call = await attached_call(system)
        first = entries(call, "attach")[0]
        killed = time.monotonic()
        owner_of(system, call).send(signal.SIGKILL)
        lease_seconds, second = await asyncio.gather(
            lease_of(system), seen(system, call, "attach", "attach", after=first.sequence)
        )
        assert (second.monotonic_seconds - killed) / lease_seconds <= OF_A_LEASE


@pytest.mark.timeout(180)
async def test_one_socket_costs_one_pause() -> None:
    """Where a second socket is refused, the next owner attaches one pause after the last one left."""
    async with local_system(
        agent="examples.bikes:agent", environment={"LEASE_SECONDS": "600"}, options={"second_attach": "refuse"}
    ) as system:
        call = await attached_call(system)
        stopping = asyncio.create_task(owner_of(system, call).stop(signal.SIGTERM))
        left = await seen(system, call, "detach", "detach")
        second = await seen(system, call, "attach", "attach", after=left.sequence)
        await stopping
        refused = [entry.monotonic_seconds for entry in entries(call, "refused")]
        pause_seconds = statistics.median(later - earlier for earlier, later in pairwise(refused))
        assert (second.monotonic_seconds - left.monotonic_seconds) / pause_seconds <= OF_A_PAUSE
