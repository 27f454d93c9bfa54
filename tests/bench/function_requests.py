"""What a call costs the function, beside a hello world that publishes: `python -m tests.bench.function_requests`.

Both are served as they are deployed, by functions-framework under gunicorn with the same threads, and publish on the
same Pub/Sub. Function, Pub/Sub and load are processes of their own.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from tests.bench.compare import Compared, Side, compared, show, turns
from tests.bench.load import Load
from tests.bench.pubsub import pubsub_process
from tests.support.edge_process import ROOT, running_edge
from tests.support.edge_pubsub import create_topic

THREADS = "32"  # the function's default, and what infra/ sets
IN_SEQUENCE = 300
AT_ONCE = 800
CONNECTIONS = 16
LOAD_SECONDS = 60


def commands(python: str | Path = sys.executable) -> dict[Side, tuple[str | Path, ...]]:
    """Return how each is served: our function, and hello world."""
    served = (python, "-m", "functions_framework", "--source")
    return {
        "ours": (*served, "function/main.py", "--target", "edge"),
        "hello": (*served, "tests/bench/hello/main.py", "--target", "hello"),
    }


class RequestFigures(TypedDict):
    """The function beside hello world."""

    p50_ms: Compared
    """At one connection, one request after the other; so is p99."""
    p99_ms: Compared
    requests_per_second: Compared
    """At 16 connections; here more is better."""


async def measure_requests(rounds: int = 5) -> RequestFigures:
    """Measure both in turns, after one round to warm up; each takes about 5 s."""
    p50_ms, p99_ms, per_second = (defaultdict[Side, list[float]](list) for _ in range(3))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        host_port = await stack.enter_async_context(pubsub_process())
        await create_topic(host_port)
        ports: dict[Side, str] = {}
        for side, command in commands().items():
            settings = {"PUBSUB_EMULATOR_HOST": host_port, "THREADS": THREADS}
            function = await stack.enter_async_context(running_edge(folder, settings, command=command))
            ports[side] = function.url.rpartition(":")[2]
            await _load(ports[side], AT_ONCE, CONNECTIONS)
        for side in turns(rounds):
            latencies_ms = (await _load(ports[side], IN_SEQUENCE, 1))["latencies_ms"]
            percentiles = statistics.quantiles(latencies_ms, n=100)
            p50_ms[side].append(percentiles[49])
            p99_ms[side].append(percentiles[98])
            per_second[side].append(AT_ONCE / (await _load(ports[side], AT_ONCE, CONNECTIONS))["seconds"])
    return {"p50_ms": compared(p50_ms), "p99_ms": compared(p99_ms), "requests_per_second": compared(per_second)}


async def _load(port: str, requests: int, connections: int) -> Load:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.load", port, str(requests), str(connections),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await asyncio.wait_for(process.communicate(), LOAD_SECONDS)
    assert process.returncode == 0, "the load failed; it said why above"
    load: Load = json.loads(printed)
    return load


async def main() -> None:
    """Measure, and print a table."""
    figures = await measure_requests()
    show(
        {
            "one at a time, p50 ms": figures["p50_ms"],
            "one at a time, p99 ms": figures["p99_ms"],
            f"{CONNECTIONS} at once, requests/s": figures["requests_per_second"],
        }
    )


if __name__ == "__main__":
    asyncio.run(main())
