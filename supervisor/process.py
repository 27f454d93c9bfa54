"""The life of a supervisor process: settings, signals, exit status."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import structlog
import uvloop

from supervisor.agents import router
from supervisor.errors import StartupError
from supervisor.settings import Settings, load
from supervisor.supervisor import supervise
from supervisor.telemetry.setup import Telemetry

log = structlog.get_logger()

SPARE_THREADS = 32  # plain tools run in threads: one for each call, and some for those that hang


async def _run(settings: Settings) -> None:
    answering = router.load(settings.sideband_agent)
    tools = ThreadPoolExecutor(settings.max_calls + SPARE_THREADS, thread_name_prefix="tool")  # made as they are needed
    asyncio.get_running_loop().set_default_executor(tools)
    gc.freeze()  # code and settings stay: to search them for garbage again and again would make every call wait
    gc.collect()  # from here on what calls leave behind counts, and not in proportion to that
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await supervise(settings, answering, stop)
    finally:
        tools.shutdown(wait=False, cancel_futures=True)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # one that nobody waits in


def main() -> int:
    """Run until SIGTERM; the exit status is 2 when the process can't start, and 1 when it broke."""
    try:
        settings = load()
        telemetry = Telemetry(settings)
    except StartupError as error:
        return _not_started(error)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_run(settings))
            status = 0
        except StartupError as error:
            status = _not_started(error)
        except (Exception, SystemExit):  # whatever it is, the process must end, so that another is started
            log.exception(
                "supervisor_failed", action="the process ends; its calls go to others when their leases run out"
            )
            status = 1
        telemetry.shut_down()
        if _something_hangs(runner.get_loop()):
            sys.stdout.flush()
            os._exit(status)
    return status


def _not_started(error: StartupError) -> int:
    sys.stderr.write(f"supervisor: {error}\n")
    return 2


def _something_hangs(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether users' code still runs, in a thread or a task: it may never end, and the process with it."""
    threads = (thread.name for thread in threading.enumerate())
    return bool(asyncio.all_tasks(loop)) or any(name.startswith(("tool", "incoming rule")) for name in threads)
