"""The real run that the model is checked against: `python -m tests.simulate.check`.

1,000 calls ring at once at four supervisors, which then are full. A fifth starts, and the first is told to stop. A
sixth with fewer slots starts, and the second is killed: some of its calls find no slot until a seventh starts. What a
call costs is measured before, with a tenth of the calls at one supervisor: so the model (`prediction.py`) meets a size,
a number of supervisors and faults that it was not fed with. All supervisors share one core. The result is kept in
`measured.json`, from which docs/scale.md is written.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict
from unittest.mock import patch

from google.pubsub_v1.types import PullRequest, PullResponse

from emulator.pubsub.broker import Broker
from tests.bench import tape
from tests.bench.harness import SETTLE_SECONDS as READY_SECONDS
from tests.bench.harness import Server, Supervisor, open_exchange, openai_server, supervisor
from tests.bench.progress import say
from tests.simulate.figures import MEASURED
from tests.simulate.measures import Spread, spread

CALLS, SUPERVISORS, MAX_CALLS, LEASE_SECONDS = 1000, 4, 250, 10
SIXTH_MAX_CALLS = 150
FEW = 100
TURNS, EVENTS_PER_SECOND = 6, 15.0
REPLACE_SECONDS = 15.0  # from the kill to the start of the seventh supervisor
POLL_SECONDS, PATIENCE_SECONDS = 0.02, 60.0
SETTLE_SECONDS = 1.5  # until what is written behind is written, and the server has seen closed sockets

_COUNT = """
create trigger count_{change}_{table} after {change} on {table} begin insert into writes values ('{table}'); end
"""

Times = dict[str, list[float]]


class Costs(TypedDict):
    """What a call costs, from a run with few of them."""

    take_core_seconds: float
    change_core_seconds: float
    talk_core_share: float
    cold_start_seconds: float
    commits_per_turn: float
    documents_per_commit: float
    bytes_per_event: float
    log_bytes_per_call: float


class Run(TypedDict):
    """What the run of 1,000 calls shows, in seconds; the prediction has the same."""

    answer: Spread
    """From the ring to the configuration."""
    handed_over: Spread
    """From SIGTERM to the next owner's configuration."""
    deaf: Spread
    """Of these calls: how long no sideband was attached."""
    recovered: Spread
    """From the kill to the next owner's configuration, where there was a slot."""
    without_slot: Spread
    """The same, where there was none before the seventh supervisor."""
    core_share: float
    """Of the core, while all calls talk."""
    delivered: int
    """Notices delivered by Pub/Sub."""


async def measure() -> dict[str, Any]:
    """Measure costs, then the run; takes about two minutes."""
    async with openai_server() as server:
        costs = await _costs(server)
        say(json.dumps(costs))
        run = await _run(server)
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line)
    return {
        "taken_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "machine": f"{cpu.partition(':')[2].strip()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "costs": costs,
        "run": run,
    }


async def _costs(server: Server) -> Costs:
    lease = str(LEASE_SECONDS)
    async with open_exchange() as exchange, supervisor(server, exchange, LEASE_SECONDS=lease) as first:
        await first.attach(1)
        await server.play(3, 200)
        spent = first.cpu_seconds
        await first.attach(FEW)
        take_core_seconds = (first.cpu_seconds - spent) / FEW
        with _writes_counted(exchange.folder / "records.sqlite") as writes:
            core_share = await _core_share(server, [first])
            await asyncio.sleep(SETTLE_SECONDS)
            counts = writes()
        log_bytes = first.log.stat().st_size
        starting = time.monotonic()
        async with supervisor(server, exchange, LEASE_SECONDS=lease) as second:
            await second.ready()
            cold_start_seconds = time.monotonic() - starting - READY_SECONDS
            change_core_seconds = await _changed(server, first, second)
    recorded = await tape.record()
    return {
        "take_core_seconds": take_core_seconds,
        "change_core_seconds": change_core_seconds,
        "talk_core_share": core_share / first.calls,
        "cold_start_seconds": cold_start_seconds,
        "commits_per_turn": counts["calls"] / first.calls / TURNS,
        "documents_per_commit": counts.total() / counts["calls"],
        "bytes_per_event": len(recorded.turn.wire) / len(recorded.turn),
        "log_bytes_per_call": log_bytes / first.calls,
    }


async def _changed(server: Server, first: Supervisor, second: Supervisor) -> float:
    """Hand all calls over; returns the core time of each, in both processes."""
    before, after = first.cpu_seconds + second.cpu_seconds, 0.0
    first.child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len((await server.times()).get("configured", {})) < first.calls:
            with suppress(OSError):  # the first one has ended
                after = first.cpu_seconds + second.cpu_seconds
            await asyncio.sleep(POLL_SECONDS)
    return (after - before) / first.calls


async def _core_share(server: Server, sides: Sequence[Supervisor]) -> float:
    """Let all calls talk; returns what share of a core that takes."""
    spent, began = sum(side.cpu_seconds for side in sides), time.monotonic()
    await server.play(TURNS, EVENTS_PER_SECOND, apart=True)
    return (sum(side.cpu_seconds for side in sides) - spent) / (time.monotonic() - began)


@contextmanager
def _writes_counted(path: Path) -> Iterator[Callable[[], Counter[str]]]:
    """Have SQLite count writes by table; yields a function that gives the counts.

    Each change of a record writes its head once, so writes of `calls` are what would be commits in Firestore, and all
    writes together are documents.
    """
    with closing(sqlite3.connect(path, timeout=10)) as db:
        db.execute("create table writes (written text)")
        for table in ("calls", "journal", "transcript"):
            for change in ("insert", "update"):
                db.execute(_COUNT.format(change=change, table=table))
        db.commit()
        yield lambda: Counter(dict(db.execute("select written, count(*) from writes group by written").fetchall()))


async def _run(server: Server) -> Run:
    async with open_exchange() as exchange, AsyncExitStack() as stack:

        async def start(max_calls: int = MAX_CALLS) -> Supervisor:
            lease, slots = str(LEASE_SECONDS), str(max_calls)
            side = await stack.enter_async_context(supervisor(server, exchange, LEASE_SECONDS=lease, MAX_CALLS=slots))
            await side.ready()
            return side

        delivered = stack.enter_context(_deliveries_counted())
        sides = [await start() for _ in range(SUPERVISORS)]
        rang = time.time()
        await exchange.publish(range(1, CALLS + 1))
        attached = await server.configured(CALLS, sides[0])
        core_share = await _core_share(server, sides)
        await start()
        stopped = time.time()
        sides[0].child.send_signal(signal.SIGTERM)
        moved = await _configured(server, MAX_CALLS)
        await asyncio.wait_for(sides[0].child.wait(), PATIENCE_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)
        closed = (await server.times())["closed"]
        await start(SIXTH_MAX_CALLS)
        killed = time.time()
        sides[1].child.kill()
        await asyncio.sleep(REPLACE_SECONDS)
        recovered = await _configured(server, SIXTH_MAX_CALLS)
        await start()
        late = await _configured(server, MAX_CALLS - SIXTH_MAX_CALLS)
    return {
        "answer": spread([at - rang for at in _last(attached)]),
        "handed_over": spread([at - stopped for at in _last(moved)]),
        "deaf": spread([max(0.0, moved[call][-1] - closed[call][0]) for call in moved]),
        "recovered": spread([at - killed for at in _last(recovered)]),
        "without_slot": spread([at - killed for at in _last(late)]),
        "core_share": core_share,
        "delivered": delivered["notices"],
    }


async def _configured(server: Server, calls: int) -> Times:
    """Wait for so many configurations since the last supervisor's start; returns their times."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(times := (await server.times()).get("configured", {})) < calls:
            await asyncio.sleep(POLL_SECONDS)
    say(f"{len(times)} calls were configured")
    return times


def _last(times: Times) -> list[float]:
    return [each[-1] for each in times.values()]


@contextmanager
def _deliveries_counted() -> Iterator[Counter[str]]:
    """Count the notices that the embedded Pub/Sub delivers."""
    counts: Counter[str] = Counter()
    pull = Broker.pull

    def counted(broker: Broker, request: PullRequest) -> PullResponse:
        response = pull(broker, request)
        counts["notices"] += len(response.received_messages)
        return response

    with patch.object(Broker, "pull", counted):
        yield counts


if __name__ == "__main__":
    MEASURED.write_text(json.dumps(asyncio.run(measure()), indent=1) + "\n")
