"""Run a supervisor: `python -m supervisor`. Its settings come from the environment; docs/settings.md lists them."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import uvloop

from supervisor import agent
from supervisor.errors import StartupError
from supervisor.settings import Settings, load
from supervisor.supervisor import supervise
from supervisor.telemetry import Telemetry


async def _run(settings: Settings) -> None:
    answering = agent.load(settings.sideband_agent)
    gc.freeze()  # code and settings stay: to search them for garbage again and again would make every call wait
    gc.collect()  # from here on what calls leave behind counts, and not in proportion to that
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await supervise(settings, answering, stop)


def main() -> int:
    """Run until SIGTERM; the exit status is 2 when the process can't start."""
    try:
        settings = load()
        telemetry = Telemetry(settings)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings))
    except StartupError as error:
        sys.stderr.write(f"supervisor: {error}\n")
        return 2
    telemetry.shut_down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
