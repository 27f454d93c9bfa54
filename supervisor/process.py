"""The life of a supervisor process: settings, signals, exit status."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
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
IDLE_SECONDS = 0.5  # what threads that run nothing get to end


def main() -> int:
    """Run until SIGTERM, and return the exit status.

    It is 2 when the process can't start, and 1 when it broke.
    """
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
        if _python_would_wait(runner.get_loop()):
            sys.stdout.flush()
            os._exit(status)
    return status


async def _run(settings: Settings) -> None:
    """Load the agent, and supervise its calls until a signal to stop."""
    answering = router.load(settings.sideband_agent)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    tools = ThreadPoolExecutor(settings.max_calls + SPARE_THREADS)  # threads are made when they are needed
    loop.set_default_executor(tools)
    gc.freeze()  # code and settings stay: to search them for garbage again and again would make every call wait
    gc.collect()  # from here on what calls leave behind counts, and not in proportion to that
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await supervise(settings, answering, stop)
    finally:
        tools.shutdown(wait=False, cancel_futures=True)  # idle threads end; those that hang are left to `main`
        loop.set_default_executor(ThreadPoolExecutor(1))  # one that nobody waits for


def _not_started(error: StartupError) -> int:
    sys.stderr.write(f"supervisor: {error}\n")
    return 2


def _python_would_wait(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether a task or thread is left that Python would wait for.

    Users' code in it may never end.
    """
    if asyncio.all_tasks(loop):
        return True
    until = time.monotonic() + IDLE_SECONDS
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    for thread in others:
        thread.join(max(0.0, until - time.monotonic()))
    return any(thread.is_alive() for thread in others)
