"""Run the model of 100,000 calls, and write docs/scale.md: `python -m tests.simulate [SEED]`.

Results are kept in build/simulate/; the same seed gives the same results. Fleets run side by side, one on each core.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tests.bench.progress import say
from tests.simulate import report
from tests.simulate.figures import load
from tests.simulate.scenarios import WHOLE_FLEETS, Scenario, sweeps
from tests.support.repository import ROOT

FOLDER = ROOT / "build" / "simulate"


def main(seed: int) -> None:
    """Run all scenarios, and write the page and the series of its plots."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    jobs = [(name, scenario) for name, scenario in (*WHOLE_FLEETS.items(), *sweeps())]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        running = [(name, scenario, pool.submit(_run, scenario, seed)) for name, scenario in jobs]
        results: dict[str, Any] = {"whole": {}}
        for name, scenario, future in running:
            result = future.result()
            if scenario.labels:
                results.setdefault(name, []).append({"labels": scenario.labels, "result": result})
            else:
                results["whole"][name] = result
            say(f"{name} {scenario.labels or ''}")
    (FOLDER / "results.json").write_text(json.dumps(results, indent=1))
    report.write(results, FOLDER / "plots")


def _run(scenario: Scenario, seed: int) -> Any:
    gc.disable()  # a run leaves little garbage, and to search 100,000 calls for it takes a third of the time
    return scenario.run(load()[0], seed)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
