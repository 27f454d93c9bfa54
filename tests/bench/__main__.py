"""Measure, and write the report: `python -m tests.bench [PART ...]`, of all parts unless some are named.

What a part measured is kept in build/bench/PART.json, so that one part can be measured again; the report is written
of all of them, with the date of each. The last line is one JSON object with the ratios.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from tests.bench import carried, changes, cold_start, function_requests, memory, own_path, peers, report
from tests.bench.harness import ROOT
from tests.bench.progress import say

PARTS: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
    "peers": peers.measure,
    "memory": memory.measure,
    "carried": carried.measure,
    "changes": changes.measure,
    "own_path": own_path.measure,
    "function_requests": function_requests.measure_requests,
    "cold_start": cold_start.measure_cold_starts,
}
FOLDER = ROOT / "build" / "bench"


def main(names: list[str]) -> int:
    """Measure the named parts, or all; returns 2 where there is no such part."""
    if unknown := set(names) - set(PARTS):
        sys.stderr.write(f"bench: there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}\n")
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or PARTS:
        say(f"{name} ...")
        figures = asyncio.run(PARTS[name]())
        taken_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        (FOLDER / f"{name}.json").write_text(json.dumps({"taken_at": taken_at, "figures": figures}, indent=1))
    missing = [name for name in PARTS if not (FOLDER / f"{name}.json").exists()]
    if missing:
        say(f"no report, since these were never measured: {', '.join(missing)}")
        return 0
    kept = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in PARTS}
    sys.stdout.write(json.dumps(report.write(kept)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
