"""The processes of a measurement, and what they cost: a server in OpenAI's place, and clients that hold calls on it.

Each side is a process of its own. The server is kept on one core and the side on another, where there are two. What a
side costs is read from outside, from the operating system, so that no side pays for being measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import aiohttp
from google.pubsub_v1 import PublisherAsyncClient
from google.pubsub_v1.types import PubsubMessage

from emulator.pubsub import serve as serve_pubsub
from emulator.pubsub.topology import clients, create_calls
from function.notice import CallNotice
from tests.bench.tape import KEY

ROOT = Path(__file__).resolve().parents[2]
PROJECT, TOPIC, SUBSCRIPTION = "bench", "calls", "calls-supervisor"
START_SECONDS = 120.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.02
SETTLE_SECONDS = 0.3  # between a supervisor's word that it claims calls, and its first pull's arrival
CPUCLOCK_SCHED = 2  # of a whole process, in nanoseconds (Linux, include/linux/posix-timers.h)


@dataclass(eq=False)
class Server:
    """The server in OpenAI's place."""

    url: str
    http: aiohttp.ClientSession

    async def post(self, path: str, **body: Any) -> Any:
        """Send a request of the measurement; see `openai_server` for those that there are."""
        origin = self.url.removesuffix("/v1")
        async with self.http.post(f"{origin}/bench/{path}", json=body) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def times(self) -> dict[str, dict[str, list[float]]]:
        """Read when what happened to which call, in Unix seconds."""
        async with self.http.get(f"{self.url.removesuffix('/v1')}/bench/calls") as answer:
            times: dict[str, dict[str, list[float]]] = await answer.json()
            return times

    async def play(self, turns: int, frames_per_second: float, *, apart: bool = False) -> int:
        """Play turns in all attached calls; returns how many frames that were."""
        played = await self.post("play", turns=turns, frames_per_second=frames_per_second, apart=apart)
        return int(played["frames"])

    async def tools(self, calls: int, rounds: int, *, pause_ms: float = 10.0) -> list[float]:
        """Call tools in many calls at once; returns how long outputs took, in sorted milliseconds."""
        measured = await self.post("tools", calls=calls, rounds=rounds, pause_ms=pause_ms)
        return sorted(measured["ms"])

    async def configured(self, calls: int, by: Side, *, times: int = 1) -> dict[str, list[float]]:
        """Wait until so many calls were configured so often; returns when each was."""
        async with asyncio.timeout(START_SECONDS):
            while by.child.returncode is None:
                seen = (await self.times()).get("configured", {})
                if sum(len(when) >= times for when in seen.values()) >= calls:
                    return seen
                await asyncio.sleep(POLL_SECONDS)
        raise RuntimeError(f"the client ended with status {by.child.returncode}")


@asynccontextmanager
async def openai_server() -> AsyncIterator[Server]:
    """Serve in OpenAI's place, on the last core."""
    child = await _start(sys.executable, "-m", "tests.bench.openai_server", core=-1)
    assert child.stdout
    port = int(await asyncio.wait_for(child.stdout.readline(), START_SECONDS))
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1800)) as http:
            yield Server(f"http://127.0.0.1:{port}/v1", http)
    finally:
        await _stop(child)


class Side:
    """A process that holds calls."""

    def __init__(self, child: asyncio.subprocess.Process, server: Server) -> None:
        self.child = child
        self.server = server
        self.calls = 0

    async def attach(self, more: int) -> None:
        """Attach more calls, and wait until each is configured."""
        await self.ring(more)
        await self.server.configured(self.calls, self)

    async def ring(self, more: int) -> None:
        """Have more calls attached."""
        self.calls += more
        assert self.child.stdin
        self.child.stdin.write(f"{more}\n".encode())
        await self.child.stdin.drain()

    @property
    def cpu_seconds(self) -> float:
        """What the process has cost so far."""
        return cpu_seconds(self.child.pid)

    @property
    def memory_kb(self) -> int:
        """Memory that would be free if the process ended."""
        rollup = Path(f"/proc/{self.child.pid}/smaps_rollup").read_text()
        lines = (line.split() for line in rollup.splitlines()[1:])
        return sum(int(line[1]) for line in lines if line[0] in {"Private_Clean:", "Private_Dirty:"})


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far, in all its threads."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


@asynccontextmanager
async def client(python: str, script: str, server: Server, *, loop: str = "uvloop") -> AsyncIterator[Side]:
    """Run a client of `clients/` in its own environment, on this event loop."""
    await server.post("forget")
    child = await _start(python, str(ROOT / "tests/bench/clients" / script), server.url, core=0, BENCH_LOOP=loop)
    try:
        yield Side(child, server)
    finally:
        await _stop(child)


class Supervisor(Side):
    """A real supervisor, to which calls come through Pub/Sub."""

    def __init__(self, child: asyncio.subprocess.Process, server: Server, exchange: Exchange, log: Path) -> None:
        super().__init__(child, server)
        self._exchange = exchange
        self.log = log
        self.ages = exchange.folder / "ages"
        """Where the agent writes how old events were when they got to it, in milliseconds."""

    async def ready(self) -> None:
        """Wait until it claims calls."""
        async with asyncio.timeout(START_SECONDS):
            while '"started"' not in self.log.read_text():
                await asyncio.sleep(POLL_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)

    async def ring(self, more: int) -> None:
        """Have more calls claimed, by publishing their notices."""
        await self._exchange.publish(range(self.calls + 1, self.calls + more + 1))
        self.calls += more


@dataclass(eq=False)
class Exchange:
    """Pub/Sub, and what supervisors share: a subscription, and a file of records."""

    host_port: str
    publisher: PublisherAsyncClient
    folder: Path

    async def publish(self, numbers: range) -> None:
        """Publish notices of calls that a browser made, so that they need no accept."""
        notices = [CallNotice(call_id=f"call_{number}", transport="webrtc", source="relay") for number in numbers]
        messages = [PubsubMessage(data=notice.data()) for notice in notices]
        await self.publisher.publish(topic=f"projects/{PROJECT}/topics/{TOPIC}", messages=messages)


@asynccontextmanager
async def open_exchange() -> AsyncIterator[Exchange]:
    """Serve an embedded Pub/Sub in this process, with the topic of calls."""
    with TemporaryDirectory(prefix="sideband-bench-") as folder:
        async with serve_pubsub() as pubsub, clients(pubsub.host_port) as (publisher, _):
            await create_calls(pubsub.host_port, project=PROJECT, topic=TOPIC, subscription=SUBSCRIPTION)
            yield Exchange(pubsub.host_port, publisher, Path(folder))


@asynccontextmanager
async def supervisor(
    server: Server, exchange: Exchange, *, core: int = 0, **settings: str
) -> AsyncIterator[Supervisor]:
    """Run a supervisor as it is deployed: leases, records with journal, limits, logs, metrics."""
    await server.post("forget")
    environment = {
        "PUBSUB_EMULATOR_HOST": exchange.host_port,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "CALLS_SUBSCRIPTION": SUBSCRIPTION,
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": server.url,
        "SIDEBAND_AGENT": "tests.bench.agent:agent",
        "RECORDS": f"sqlite:{exchange.folder}/records.sqlite",
        "MAX_CALLS": "2000",
        "HEALTH_ADDRESS": "127.0.0.1:0",
        "BENCH_AGES": str(exchange.folder / "ages"),
        **settings,
    }
    log = exchange.folder / f"supervisor-{uuid4().hex}.log"
    with log.open("wb") as stdout:
        child = await _start(sys.executable, "-m", "supervisor", core=core, stdout=stdout, **environment)
    try:
        yield Supervisor(child, server, exchange, log)
    finally:
        await _stop(child)


async def _start(
    *command: str, core: int, stdout: Any = asyncio.subprocess.PIPE, **environment: str
) -> asyncio.subprocess.Process:
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**_quiet(os.environ), "PYTHONPATH": str(ROOT), **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=stdout,
    )
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(child.pid, {cores[core]})
    return child


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "OPENAI_AGENTS_DISABLE_TRACING": "1", "PYTHONDONTWRITEBYTECODE": "1"}


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), STOP_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()
