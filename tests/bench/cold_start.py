"""How long cold starts take, beside hello worlds: `make bench-cold`, or `python -m tests.bench.cold_start`.

    function      from the start of the process to the first call accepted: published, and answered with 200
    supervisor    from the start of the process until it is ready: a message was waiting, and the first pull brought it

Where the time goes: `python -X importtime -m supervisor`.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict
from uuid import uuid4

from google.pubsub_v1 import PubsubMessage

from emulator.pubsub.topology import clients, create_calls
from function.notice import CallNotice
from tests.bench.compare import Compared, Side, compared, show, turns
from tests.bench.deployed import deployed_python
from tests.bench.function_requests import THREADS, commands
from tests.bench.pubsub import pubsub_process
from tests.support.deliveries import new_call
from tests.support.edge_process import PATIENCE_SECONDS, PROJECT, ROOT, running_edge
from tests.support.edge_pubsub import create_topic, free_port

LOOK_AGAIN_SECONDS = 0.005


class ColdStartFigures(TypedDict):
    """Ours beside hello worlds."""

    function_seconds: Compared
    supervisor_seconds: Compared


async def measure_cold_starts(rounds: int = 5) -> ColdStartFigures:
    """Start ours and hello worlds in turns, after one round to warm up.

    A round takes about 5 s. Both sides run with the packages that ours is deployed with.
    """
    functions, supervisors = (defaultdict[Side, list[float]](list) for _ in range(2))
    with TemporaryDirectory() as name:
        folder = Path(name)
        function_commands = commands(await deployed_python(folder, "function"))
        python = await deployed_python(folder, "supervisor")
        worker_commands: dict[Side, tuple[str | Path, ...]] = {
            "ours": (python, "-m", "supervisor"),
            "hello": (python, "tests/bench/hello/worker.py"),
        }
        async with pubsub_process() as host_port:
            await create_topic(host_port)
            for number, side in enumerate(turns(rounds + 1)):
                function_seconds = await _function_start(function_commands[side], folder, host_port)
                supervisor_seconds = await _worker_start(worker_commands[side], folder, host_port)
                if number > 1:  # the first of each compiled its packages
                    functions[side].append(function_seconds)
                    supervisors[side].append(supervisor_seconds)
    return {"function_seconds": compared(functions), "supervisor_seconds": compared(supervisors)}


async def _function_start(command: Sequence[str | Path], folder: Path, host_port: str) -> float:
    body = new_call()
    settings = {"PUBSUB_EMULATOR_HOST": host_port, "THREADS": THREADS}
    began = time.perf_counter()
    async with running_edge(folder, settings, command=command) as function:
        answer = await function.deliver(body)
        seconds = time.perf_counter() - began
    assert answer.status == 200, answer.text
    return seconds


async def _worker_start(command: Sequence[str | Path], folder: Path, host_port: str) -> float:
    subscription = f"claims-{uuid4().hex}"
    address = f"127.0.0.1:{free_port()}"
    await _message_waiting(host_port, subscription)
    environment = {
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "PUBSUB_EMULATOR_HOST": host_port,
        "CALLS_SUBSCRIPTION": subscription,
        "HEALTH_ADDRESS": address,
        "OPENAI_API_KEY": "sk-bench",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "SIDEBAND_AGENT": "examples.bikes:agent",
        "RECORDS": f"sqlite:{folder}/{subscription}.sqlite",
    }
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await _ready(address):
                assert process.returncode is None, "the process ended before it was ready; it said why above"
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        return time.perf_counter() - began
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _message_waiting(host_port: str, subscription: str) -> None:
    """Make a subscription with a notice in it, so that the first pull need not wait."""
    await create_calls(host_port, project=PROJECT, topic=subscription, subscription=subscription)
    notice = CallNotice(call_id=f"rtc_{uuid4().hex}")
    async with clients(host_port) as (publisher, _):
        await publisher.publish(
            topic=f"projects/{PROJECT}/topics/{subscription}",
            messages=[PubsubMessage(data=notice.data(), attributes=notice.attributes())],
            timeout=PATIENCE_SECONDS,
        )


async def _ready(address: str) -> bool:
    """Return whether the process at this address says that it is ready."""
    host, _, port = address.rpartition(":")
    with suppress(ConnectionError):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        answer = await reader.readline()
        writer.close()
        return b" 200 " in answer
    return False


async def main() -> None:
    """Measure, and print a table."""
    figures = await measure_cold_starts()
    show({"function, s": figures["function_seconds"], "supervisor, s": figures["supervisor_seconds"]})


if __name__ == "__main__":
    asyncio.run(main())
