"""Run supervisors in one's own process, without mocks.

OpenAI is the stand-in, and Pub/Sub an embedded one.

    async with rig(agent) as rigged:
        call = await rigged.ring([{"caller": "..."}])
        record = await rigged.ended(call)

`sideband.testing` builds on it. What needs real processes (kill -9, signals) uses `emulator.system` instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.pubsub_v1 import PublisherAsyncClient
from google.pubsub_v1.types import PubsubMessage

from emulator.openai import Call, Entry, Options, StandIn
from emulator.openai import serve as serve_openai
from emulator.pubsub import Server as PubsubServer
from emulator.pubsub import serve as serve_pubsub
from emulator.pubsub.topology import clients, create_calls
from function.notice import CallNotice
from supervisor.agents.agent import Agent
from supervisor.agents.router import Router, as_router
from supervisor.records.opening import open_store
from supervisor.records.record import CallRecord
from supervisor.records.store import Store
from supervisor.settings import Settings
from supervisor.supervisor import supervise

PROJECT = "shop"
WAIT_SECONDS = 30.0


@dataclass(eq=False)
class RunningSupervisor:
    """One supervisor: its task, and what ends it."""

    task: asyncio.Task[None]
    stop: asyncio.Event


@dataclass(eq=False)
class Rig:
    """Stand-ins, a store and supervisors that run."""

    stand_in: StandIn
    pubsub: str
    pubsub_server: PubsubServer
    publisher: PublisherAsyncClient
    store: Store
    settings: Settings
    supervisors: list[RunningSupervisor] = field(default_factory=list)

    def supervise(self, agent: Agent | Router, **settings: Any) -> RunningSupervisor:
        """Start one more supervisor."""
        stop = asyncio.Event()
        router = as_router(agent)
        task = asyncio.create_task(supervise(self.settings.model_copy(update=settings), router, stop))
        supervisor = RunningSupervisor(task, stop)
        self.supervisors.append(supervisor)
        return supervisor

    async def ring(self, script: Iterable[Mapping[str, Any]] = (), **notice: Any) -> Call:
        """Have a caller dial, and publish the notice as the function would."""
        call = await self.stand_in.place_call(script, webhook=False)
        await self.announce(call, **notice)
        return call

    async def announce(self, call: Call, **notice: Any) -> None:
        """Publish a notice of a call."""
        await self.publish(CallNotice(call_id=call.call_id, sip_headers=call.sip_headers, **notice).data())

    async def publish(self, data: bytes) -> None:
        """Publish anything."""
        topic = f"projects/{PROJECT}/topics/calls"
        await self.publisher.publish(topic=topic, messages=[PubsubMessage(data=data)])

    async def seen(self, call: Call, kind: str, type_: str = "", *, after: int = 0) -> Entry:
        """Wait until OpenAI has seen something of a call."""
        return await self.stand_in.log.wait_for(
            lambda entry: entry.call_id == call.call_id and entry.kind == kind and type_ in ("", entry.type),
            after=after,
            timeout_seconds=WAIT_SECONDS,
        )

    async def ended(self, call: Call) -> CallRecord:
        """Wait until the record of a call has its end."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                record = await self.store.read(call.call_id)
                if record and record.end_reason:
                    return record
                await asyncio.sleep(0.02)  # a store does not tell of changes


def entries(call: Call, kind: str, type_: str = "") -> list[Entry]:
    """List what OpenAI saw of a call, of one kind."""
    return [entry for entry in call.log if entry.kind == kind and type_ in ("", entry.type)]


def greetings(call: Call) -> int:
    """Count how often a call was greeted."""
    return sum("instructions" in entry.payload["response"] for entry in entries(call, "frame_in", "response.create"))


def outputs(call: Call) -> dict[str, list[str]]:
    """List the outputs that were sent for each tool call, by its id."""
    sent: dict[str, list[str]] = {}
    for entry in entries(call, "frame_in", "conversation.item.create"):
        item = entry.payload["item"]
        if item["type"] == "function_call_output":
            sent.setdefault(item["call_id"], []).append(item["output"])
    return sent


@asynccontextmanager
async def rig(
    agent: Agent | Router, *, supervisors: int = 1, options: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Rig]:
    """Run everything with some supervisors; more settings by their field names."""
    with TemporaryDirectory(prefix="rig-") as folder:
        async with (
            serve_pubsub() as server,
            serve_openai(options=Options.model_validate({"api_keys": ["sk-rig"], **(options or {})})) as stand_in,
            clients(server.host_port) as (publisher, _),
        ):
            await create_calls(
                server.host_port,
                project=PROJECT,
                topic="calls",
                subscription="claims",
                dead_letter_topic="dead",
                max_delivery_attempts=50,
            )
            fields = {
                "openai_api_key": "sk-rig",
                "openai_base_url": stand_in.base_url,
                "google_cloud_project": PROJECT,
                "calls_subscription": "claims",
                "pubsub_emulator_host": server.host_port,
                "sideband_agent": "in:process",
                "lease_seconds": 10,
                "records": f"sqlite:{Path(folder) / 'records.sqlite'}",
                **settings,
            }
            all_settings = Settings.model_validate(fields)
            store = open_store(all_settings.records, project=PROJECT)
            rigged = Rig(stand_in, server.host_port, server, publisher, store, all_settings)
            try:
                for _ in range(supervisors):
                    rigged.supervise(agent)
                yield rigged
            finally:
                for supervisor in rigged.supervisors:
                    supervisor.task.cancel()
                await asyncio.gather(*(supervisor.task for supervisor in rigged.supervisors), return_exceptions=True)
                await store.close()
