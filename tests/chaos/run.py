"""Plays a plan against real processes, and gathers what the oracle needs."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.pubsub_v1 import PublisherAsyncClient
from google.pubsub_v1.types import PubsubMessage

from emulator.openai import Call
from emulator.pubsub.google import google_firestore_emulator
from emulator.pubsub.topology import clients
from emulator.system import TOPIC, Process, System, local_system
from function.notice import CallNotice
from supervisor.records.opening import open_store
from supervisor.records.record import CallRecord
from supervisor.records.store import Store
from tests.chaos.evidence import Disturbance, Evidence, Kind, Stop, read_effects
from tests.chaos.plan import LEASE_SECONDS, Fault, PlacedCall, Plan
from tests.chaos.proxy import Proxy, proxy_to
from tests.chaos.stalls import Stall, note_stalls_forever

SPEED = 20.0  # of the conversations
PATIENCE_SECONDS = 8.0  # how long a caller waits for an answer before they go on
SETTLE_SECONDS = 60.0  # what the calls get to end after the plan has
EXIT_SECONDS = 20.0  # what a process gets that was told to stop, before it is given up
TICK_SECONDS = 1.0

OnFault = Callable[[str], None]
OnTick = Callable[["Run"], None]


def _ignore(_event: Any) -> None:
    """Do nothing."""


@dataclass
class Slot:
    """A place for a supervisor: its way to Pub/Sub, and the process that is in it now."""

    number: int
    proxy: Proxy
    process: Process | None = None
    starts: int = 0
    in_hand: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while something is being done to the process."""


@dataclass
class Run:
    """One run."""

    system: System
    publisher: PublisherAsyncClient
    slots: list[Slot]
    store_proxy: Proxy | None
    """The way to a record store that is a server."""
    module: str
    on_fault: OnFault
    calls: list[Call] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)

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
                group.create_task(self._place(placed, started), name="caller")
            for fault in plan.faults:
                group.create_task(self._strike(fault, started), name=fault.kind)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                for call in self.calls:
                    await call.ended(SETTLE_SECONDS)

    async def tick_forever(self, on_tick: OnTick) -> None:
        """Show how it goes, once a second."""
        while True:
            on_tick(self)
            await asyncio.sleep(TICK_SECONDS)

    async def _place(self, placed: PlacedCall, started: float) -> None:
        await _until(started + placed.at_seconds)
        call = await self.system.stand_in.place_call(placed.script)
        self.calls.append(call)
        if placed.announced_twice:
            notice = CallNotice(call_id=call.call_id, sip_headers=call.sip_headers)
            topic = f"projects/{self.system.environment['GOOGLE_CLOUD_PROJECT']}/topics/{TOPIC}"
            await self.publisher.publish(topic=topic, messages=[PubsubMessage(data=notice.data())])

    async def _strike(self, fault: Fault, started: float) -> None:
        await _until(started + fault.at_seconds)
        inject = self.system.stand_in.inject
        match fault.kind:
            case "cut":
                self.on_fault("every socket is torn")
                inject({"fault": "cut"})
            case "close":
                self.on_fault(f"every socket is closed with {fault.code}")
                inject({"fault": "cut", "close_code": fault.code})
            case "upgrades":
                self.on_fault(f"every socket is torn, and 40 attaches are refused with {fault.code}")
                inject({"fault": "upgrade", "status": fault.code, "times": 40})
                inject({"fault": "cut"})
            case "rest":
                self.on_fault("accepts and hang-ups fail, and may have taken effect")
                inject({"fault": "rest", "operation": "accept", "status": 503, "times": 5})
                inject({"fault": "rest", "operation": "accept", "status": 500, "applied": True, "times": 3})
                inject({"fault": "rest", "operation": "accept", "hang_seconds": 7, "status": 504, "times": 2})
                inject({"fault": "rest", "operation": "hangup", "status": 500, "applied": True, "times": 2})
            case "webhooks":
                self.on_fault("10 webhooks are doubled, 5 are late")
                inject({"fault": "webhook", "effect": "duplicate", "times": 10})
                inject({"fault": "webhook", "effect": "late", "times": 5})
            case "lock":
                self.on_fault(f"the record store is out of reach for {fault.lasts_seconds} s")
                await self._block_store(fault.lasts_seconds)
            case _:
                await self._disturb(fault, self.slots[fault.target])

    async def _disturb(self, fault: Fault, slot: Slot) -> None:
        """Do something to one process, after whatever else is being done to it."""
        async with slot.in_hand:
            process = slot.process
            if process is None or not process.running:
                self.on_fault(f"{fault.kind}: {slot.number} does not run")
                return
            self.on_fault(f"{fault.kind} {process.name} ({process.pid}) {fault.lasts_seconds or ''}")
            began = time.monotonic()
            match fault.kind:
                case "kill":
                    self._note("kill", process, began)
                    process.send(signal.SIGKILL)
                    self.stops.append(Stop(process.pid, None, planned=True))
                    await asyncio.sleep(fault.lasts_seconds)
                    await self.start(slot)
                case "restart":
                    self._note("restart", process, began)
                    process.send(signal.SIGTERM)
                    await asyncio.gather(self.start(slot), self._see_out(process, began))
                case "freeze" | "stall":
                    process.send(signal.SIGSTOP)
                    await asyncio.sleep(fault.lasts_seconds)
                    process.send(signal.SIGCONT)
                    self._note(fault.kind, process, began, time.monotonic())
                case "isolate" | "hiccup":
                    slot.proxy.cut()
                    await asyncio.sleep(fault.lasts_seconds)
                    slot.proxy.mend()
                    self._note(fault.kind, process, began, time.monotonic())
                case _:
                    raise AssertionError(f"{fault.kind} is not done to a process")

    def _note(self, kind: Kind, process: Process, began: float, ended: float = float("inf")) -> None:
        self.disturbances.append(Disturbance(kind, process.pid, began, ended))

    async def _see_out(self, process: Process, stopped_at: float) -> None:
        """Note how long a process takes that was told to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_SECONDS):
                await process.child.wait()
        stopping = (stopped_at, time.monotonic())
        self.stops.append(Stop(process.pid, process.child.returncode, planned=True, stopping=stopping))

    async def _block_store(self, seconds: float) -> None:
        began = time.monotonic()
        records = self.system.environment["RECORDS"]
        if self.store_proxy:
            self.store_proxy.cut()
            await asyncio.sleep(seconds)
            self.store_proxy.mend()
        elif records.startswith("sqlite:"):
            await asyncio.to_thread(_lock, records.removeprefix("sqlite:"), seconds)
        self.disturbances.append(Disturbance("lock", None, began, time.monotonic()))

    def unplanned_stops(self) -> list[Stop]:
        """Return the supervisors that ended by themselves."""
        planned = {stop.pid for stop in self.stops}
        return [
            Stop(process.pid, process.child.returncode, planned=False)
            for process in self.system.processes
            if not process.running and process.pid not in planned
        ]


def _lock(path: str, seconds: float) -> None:
    """Lock a file of records for a while, as a careless query would."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=seconds)) as db:
        db.execute("begin exclusive")
        time.sleep(seconds)
        db.execute("rollback")


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


async def run(
    plan: Plan,
    *,
    folder: Path,
    supervisors: int = 3,
    pubsub: str = "embedded",
    records: str = "",
    broken: str = "",
    on_fault: OnFault = _ignore,
    on_tick: OnTick = _ignore,
) -> Evidence:
    """Play a plan; returns the evidence for `oracle.judge`.

    Args:
        plan: what happens.
        folder: where the records and the side effects go.
        supervisors: how many there are at a time.
        pubsub: `embedded`, `google`, or the HOST:PORT of one that runs.
        records: the `RECORDS` of the supervisors; a SQLite file in `folder` unless given. `firestore:` starts Google's
            emulator, unless FIRESTORE_EMULATOR_HOST names one that runs.
        broken: the safeguard that the supervisors go without, see `tests.chaos.broken`.
        on_fault: is called with each fault, in words, as it strikes.
        on_tick: is called once a second.
    """
    effects = folder / "effects"
    environment = {
        "LEASE_SECONDS": str(LEASE_SECONDS),
        "EFFECTS": str(effects),
        "RECORDS": records or f"sqlite:{folder / 'records.sqlite'}",
        "MAX_CALLS": "1000",
    }
    async with AsyncExitStack() as stack:
        store_proxy = None
        if records.startswith("firestore:"):
            store_proxy = await stack.enter_async_context(proxy_to(await _firestore(stack)))
            environment["FIRESTORE_EMULATOR_HOST"] = store_proxy.host_port
        options = {"speed": SPEED, "patience_seconds": PATIENCE_SECONDS}
        system = await stack.enter_async_context(
            local_system(agent="tests.chaos.agent:agent", pubsub=pubsub, options=options, environment=environment)
        )
        publisher, _ = await stack.enter_async_context(clients(system.pubsub))
        slots = [Slot(n, await stack.enter_async_context(proxy_to(system.pubsub))) for n in range(supervisors)]
        module = f"tests.chaos.broken {broken}" if broken else "supervisor"
        playing = Run(system, publisher, slots, store_proxy, module, on_fault)
        await asyncio.gather(system.start_function(), *(playing.start(slot) for slot in slots))
        watching = (
            system.group.create_task(playing.tick_forever(on_tick), name="tick"),
            system.group.create_task(note_stalls_forever(playing.stalls), name="note stalls"),
        )
        try:
            await playing.play(plan)
            kept = await _records(system.environment, playing.calls)
        finally:
            for task in watching:
                task.cancel()
        return Evidence(
            lease_seconds=LEASE_SECONDS,
            logs={call.call_id: list(call.log) for call in playing.calls},
            records=kept,
            effects=read_effects(effects.read_text().splitlines() if effects.exists() else ()),
            disturbances=list(playing.disturbances),
            log_lines={process.pid: list(process.lines) for process in system.processes},
            stops=playing.stops + playing.unplanned_stops(),
            stalls=playing.stalls,
        )


async def _firestore(stack: AsyncExitStack) -> str:
    """Find Google's Firestore emulator that runs, or start one for this run."""
    if running := os.environ.get("FIRESTORE_EMULATOR_HOST"):
        return running
    server = await stack.enter_async_context(google_firestore_emulator())
    os.environ["FIRESTORE_EMULATOR_HOST"] = server  # where the client that reads the records looks for it
    stack.callback(os.environ.pop, "FIRESTORE_EMULATOR_HOST", None)
    return server


async def _records(environment: dict[str, str], calls: list[Call]) -> dict[str, CallRecord | None]:
    """Read each call's record once it has ended, or when time is up."""
    store = open_store(environment["RECORDS"], project=environment["GOOGLE_CLOUD_PROJECT"])
    give_up_at = time.monotonic() + LEASE_SECONDS + SETTLE_SECONDS
    try:
        return {call.call_id: await _record(store, call.call_id, give_up_at) for call in calls}
    finally:
        await store.close()


async def _record(store: Store, call_id: str, give_up_at: float) -> CallRecord | None:
    while True:
        record = await store.read(call_id)
        if (record and record.end_reason) or time.monotonic() > give_up_at:
            return record
        await asyncio.sleep(0.1)  # another process writes the record
