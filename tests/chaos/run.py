"""Plays a plan against real processes, and has the oracle judge what came of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.pubsub_v1 import PublisherAsyncClient
from google.pubsub_v1.types import PubsubMessage

from emulator.local import Process, System, local_system
from emulator.openai import Call
from function.notice import CallNotice
from supervisor.records import CallRecord, Store, open_store
from tests.chaos.oracle import Disturbance, Judgement, judge
from tests.chaos.plan import Fault, FaultKind, PlacedCall, Plan
from tests.chaos.proxy import Proxy, proxy_to
from tests.pubsub_servers import clients

BEYOND_LEASE_SECONDS = 4.0  # how much longer than a lease a freeze or an isolation lasts
SHORT_SECONDS = 2.0
RESTART_SECONDS = 1.0
LOCK_SECONDS = 1.5
SPEED = 20.0  # of the conversations
PATIENCE_SECONDS = 5.0  # how long a caller waits for an answer before they go on
SETTLE_SECONDS = 45.0  # more than a lease: what the calls get to end after the plan has

Progress = Callable[[str], None]


@dataclass
class Slot:
    """A place for a supervisor: its way to Pub/Sub, and the process that is in it now."""

    number: int
    proxy: Proxy
    process: Process | None = None
    starts: int = 0


@dataclass
class Run:
    """One run."""

    system: System
    publisher: PublisherAsyncClient
    slots: list[Slot]
    records: str
    lease_seconds: int
    module: str
    progress: Progress
    calls: list[Call] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)

    async def start(self, slot: Slot) -> None:
        """Put a new supervisor into a slot."""
        slot.starts += 1
        slot.process = await self.system.start_supervisor(
            f"S{slot.number}.{slot.starts}", module=self.module, PUBSUB_EMULATOR_HOST=slot.proxy.host_port
        )

    async def play(self, plan: Plan) -> None:
        """Let everything happen at its time, then wait for the calls to end."""
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for placed in plan.calls:
                group.create_task(self._call(placed, started), name="caller")
            for fault in plan.faults:
                group.create_task(self._strike(fault, started), name=fault.kind)
        async with asyncio.timeout(SETTLE_SECONDS):
            for call in self.calls:
                with suppress(TimeoutError):
                    await call.ended(SETTLE_SECONDS)

    async def _call(self, placed: PlacedCall, started: float) -> None:
        await _until(started + placed.at_seconds)
        call = await self.system.stand_in.place_call(placed.script)
        self.calls.append(call)
        if placed.announced_twice:
            notice = CallNotice(call_id=call.call_id, sip_headers=call.sip_headers)
            project = self.system.environment["GOOGLE_CLOUD_PROJECT"]
            message = PubsubMessage(data=notice.data())
            await self.publisher.publish(topic=f"projects/{project}/topics/calls", messages=[message])

    async def _strike(self, fault: Fault, started: float) -> None:
        await _until(started + fault.at_seconds)
        slot = self.slots[fault.target]
        self.progress(f"{fault.kind} S{slot.number}")
        inject = self.system.stand_in.inject
        match fault.kind:
            case "cut":
                inject({"fault": "cut"})
            case "close":
                inject({"fault": "cut", "close_code": 1011})
            case "upgrades":
                inject({"fault": "upgrade", "status": 503, "times": 40})
                inject({"fault": "cut"})
            case "rest":
                inject({"fault": "rest", "operation": "accept", "status": 503, "times": 5})
                inject({"fault": "rest", "operation": "accept", "status": 500, "applied": True, "times": 3})
                inject({"fault": "rest", "operation": "accept", "hang_seconds": 7, "status": 504, "times": 2})
            case "webhooks":
                inject({"fault": "webhook", "effect": "duplicate", "times": 10})
                inject({"fault": "webhook", "effect": "late", "times": 5})
            case "lock":
                await asyncio.to_thread(_lock, self.records)
            case _:
                await self._disturb(fault.kind, slot)

    async def _disturb(self, kind: FaultKind, slot: Slot) -> None:
        """Do something to one process, unless something is being done to it already."""
        process, slot.process = slot.process, None
        if process is None:
            return
        began = time.monotonic()
        long_seconds = self.lease_seconds + BEYOND_LEASE_SECONDS
        match kind:
            case "kill":
                process.send(signal.SIGKILL)
                self._note(kind, process, began)
                await asyncio.sleep(RESTART_SECONDS)
                await self.start(slot)
            case "restart":
                process.send(signal.SIGTERM)
                self._note(kind, process, began)
                await self.start(slot)
            case "freeze" | "stall":
                process.send(signal.SIGSTOP)
                await asyncio.sleep(long_seconds if kind == "freeze" else SHORT_SECONDS)
                process.send(signal.SIGCONT)
                self._note(kind, process, began)
                slot.process = process
            case _:
                slot.proxy.cut()
                await asyncio.sleep(long_seconds if kind == "isolate" else SHORT_SECONDS)
                slot.proxy.mend()
                self._note(kind, process, began)
                slot.process = process

    def _note(self, kind: Any, process: Process, began: float) -> None:
        self.disturbances.append(Disturbance(kind, process.pid, began, time.monotonic()))


def _lock(records: str) -> None:
    """Hold the store's file for a while, as a backup or a careless query would."""
    path = records.removeprefix("sqlite:")
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("begin exclusive")
        time.sleep(LOCK_SECONDS)
        db.execute("rollback")
    db.close()


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


async def run(
    plan: Plan,
    *,
    folder: Path,
    supervisors: int = 3,
    lease_seconds: int = 10,
    pubsub: str = "embedded",
    records: str = "",
    broken: str = "",
    progress: Progress = lambda _text: None,
) -> Judgement:
    """Play a plan and judge it.

    Args:
        plan: what happens.
        folder: where the records, the side effects and the logs go.
        supervisors: how many there are at a time.
        lease_seconds: how long a claim lives.
        pubsub: `embedded`, `google`, or the HOST:PORT of one that runs.
        records: the `RECORDS` of the supervisors; a SQLite file in `folder` unless given.
        broken: the safeguard that the supervisors go without, `fencing` or `journal`.
        progress: is told what happens.
    """
    records = records or f"sqlite:{folder / 'records.sqlite'}"
    effects = folder / "effects"
    environment = {"LEASE_SECONDS": str(lease_seconds), "EFFECTS": str(effects), "RECORDS": records, "MAX_CALLS": "400"}
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(
            local_system(
                agent="tests.chaos.agent:agent",
                pubsub=pubsub,
                options={"speed": SPEED, "patience_seconds": PATIENCE_SECONDS},
                environment=environment,
            )
        )
        publisher, _ = await stack.enter_async_context(clients(system.pubsub))
        slots = [Slot(n, await stack.enter_async_context(proxy_to(system.pubsub))) for n in range(supervisors)]
        module = f"tests.chaos.broken {broken}" if broken else "supervisor"
        play = Run(system, publisher, slots, records, lease_seconds, module, progress)
        await asyncio.gather(system.start_function(), *(play.start(slot) for slot in slots))
        progress("running")
        with suppress(TimeoutError):
            await play.play(plan)
        progress("settling")
        store = open_store(records, project=system.environment["GOOGLE_CLOUD_PROJECT"])
        try:
            kept = await _records(store, play.calls, lease_seconds + SETTLE_SECONDS)
        finally:
            await store.close()
        _write_logs(folder, system, play.calls)
    return judge(
        {call.call_id: call.log for call in play.calls},
        effects.read_text().splitlines() if effects.exists() else [],
        kept,
        play.disturbances,
        _claims(system),
        lease_seconds=lease_seconds,
    )


async def _records(store: Store, calls: list[Call], within_seconds: float) -> dict[str, CallRecord | None]:
    """Each call's record, as soon as all of them have ended, or when time is up."""
    give_up_at = time.monotonic() + within_seconds
    records: dict[str, CallRecord | None] = {}
    for call in calls:
        while True:
            record = records[call.call_id] = await store.read(call.call_id)
            if (record and record.end_reason) or time.monotonic() > give_up_at:
                break
            await asyncio.sleep(0.1)  # another process writes the record
    return records


def _claims(system: System) -> dict[str, dict[int, int]]:
    """Which process claimed which call in which delivery attempt, as they logged it."""
    claims: dict[str, dict[int, int]] = {}
    for process in system.processes:
        for line in process.lines:
            if line.get("message") == "claimed":
                claims.setdefault(line["call_id"], {})[process.pid] = line["delivery_attempt"]
    return claims


def _write_logs(folder: Path, system: System, calls: list[Call]) -> None:
    """Keep what was said, for people who look into a violation."""
    for process in system.processes:
        with (folder / f"{process.name}-{process.pid}.log").open("w") as file:
            file.writelines(f"{line}\n" for line in process.lines)
    for call in calls:
        with (folder / f"{call.call_id}.log").open("w") as file:
            for entry in call.log:
                what = {
                    key: entry.payload.get(key) for key in ("item", "status", "error", "event_id", "call_id", "event")
                }
                shown = {key: value for key, value in what.items() if value is not None}
                file.write(f"{entry.unix_seconds:.3f} {entry.kind} {entry.type} {entry.who} {entry.attach} {shown}\n")
    os.sync()
