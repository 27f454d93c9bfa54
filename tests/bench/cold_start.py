"""How long a cold start takes: from the start of the process to its first answers, and where the time goes.

    make bench-cold

Each round starts the function anew, as gunicorn serves it, with an embedded Pub/Sub beside it.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from tests.deliveries import incoming
from tests.edge_process import ROOT, running_edge
from tests.edge_pubsub import create_topic, pubsub

ROUNDS = 7
HEAVIEST = 8


async def main() -> None:
    """Measure, and print a table in milliseconds."""
    serving: list[float] = []
    first_call: list[float] = []
    second_call: list[float] = []
    with TemporaryDirectory() as folder:
        async with pubsub() as (host_port, _):
            await create_topic(host_port)
            for _ in range(ROUNDS):
                began = time.perf_counter()
                async with running_edge(Path(folder), PUBSUB_EMULATOR_HOST=host_port) as edge:
                    assert (await edge.request("GET", "/")).status == 200
                    serving.append(time.perf_counter() - began)
                    for figures in (first_call, second_call):
                        began = time.perf_counter()
                        answer = await edge.deliver(incoming(created_at=int(time.time()), call_id=f"rtc_{uuid4().hex}"))
                        assert answer.status == 200, answer.text
                        figures.append(time.perf_counter() - began)
    _show("process start to first answer", serving)
    _show("first call, published", first_call)
    _show("second call, published", second_call)
    sys.stdout.write("\nheaviest imports, with what they import (ms)\n")
    for name, milliseconds in _imports()[:HEAVIEST]:
        sys.stdout.write(f"  {name:45} {milliseconds:7.0f}\n")


def _show(what: str, seconds: list[float]) -> None:
    middle, least, most = (1000 * of(seconds) for of in (statistics.median, min, max))
    sys.stdout.write(f"{what:35} median {middle:6.0f} ms   ({least:.0f} to {most:.0f}, {len(seconds)} rounds)\n")


def _imports() -> list[tuple[str, float]]:
    """What `function.main` imports itself, by how long each takes, with all that it brings along."""
    names = ("functions_framework", "pydantic_settings", "google.pubsub_v1", "jwt", "urllib3", "standardwebhooks")
    code = "import " + ", ".join(("function.notice", *names))
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = re.findall(r"\|\s+(\d+) \|\s+(\S+)$", done.stderr, re.MULTILINE)
    times = {name: int(microseconds) / 1000 for microseconds, name in found}
    return sorted(((name, times[name]) for name in names if name in times), key=lambda pair: -pair[1])


if __name__ == "__main__":
    asyncio.run(main())
