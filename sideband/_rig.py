"""Supervisors in one's own process, on the stand-in for OpenAI and an embedded Pub/Sub: quick, and no mocks.

    async with rig(agent) as rigged:
        call = await rigged.ring([{"caller": "..."}])
        record = await rigged.ended(call)

This is the one place of the emulator that knows the supervisor from inside; `emulator.testing` builds on it. What needs
real processes (kill -9, signals) uses `emulator.local` instead.
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
class Running:
    """One supervisor."""

    task: asyncio.Task[None]
    stop: asyncio.Event


@dataclass(eq=False)
class Rig:
    """What runs."""

    stand_in: StandIn
    pubsub: str
    pubsub_server: PubsubServer
    publisher: PublisherAsyncClient
    store: Store
    settings: Settings
    supervisors: list[Running] = field(default_factory=list)

    def supervise(self, agent: Agent | Router, **settings: Any) -> Running:
        """Start one more supervisor."""
        stop = asyncio.Event()
        router = as_router(agent)
        task = asyncio.create_task(supervise(self.settings.model_copy(update=settings), router, stop))
        running = Running(task, stop)
        self.supervisors.append(running)
        return running

    async def ring(self, script: Iterable[Mapping[str, Any]] = (), **notice: Any) -> Call:
        """A caller dials; the notice is published as the function would."""
        call = await self.stand_in.place_call(script, webhook=False)
        await self.announce(call, **notice)
        return call

    async def announce(self, call: Call, **notice: Any) -> None:
        """Publish a notice of a call."""
        told = CallNotice(call_id=call.call_id, sip_headers=call.sip_headers, **notice)
        await self.publish(told.data())

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
    """What OpenAI saw of a call, of one kind."""
    return [entry for entry in call.log if entry.kind == kind and type_ in ("", entry.type)]


def greetings(call: Call) -> int:
    """How often a call was greeted."""
    return sum("instructions" in entry.payload["response"] for entry in entries(call, "frame_in", "response.create"))


def outputs(call: Call) -> dict[str, list[str]]:
    """The outputs that were sent for each tool call, by its id."""
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
            given = {
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
            told = Settings.model_validate(given)
            store = open_store(told.records, project=PROJECT)
            running = Rig(stand_in, server.host_port, server, publisher, store, told)
            try:
                for _ in range(supervisors):
                    running.supervise(agent)
                yield running
            finally:
                for supervisor in running.supervisors:
                    supervisor.task.cancel()
                await asyncio.gather(*(supervisor.task for supervisor in running.supervisors), return_exceptions=True)
                await store.close()
