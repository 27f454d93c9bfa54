"""A soak: hundreds of calls come, talk and go for a long time, and the supervisor must end as it began.

    make soak MINUTES=30

Function, supervisor (records in SQLite), Pub/Sub and OpenAI's stand-in run as in the demo. Compared are the supervisor
after one call alone, before the crowd comes, and after one call alone when the crowd has gone: its pools of connections
are then in the same state.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Annotated

import aiohttp
import orjson
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from emulator.system import local_system
from supervisor.records.opening import open_store
from tests.bench.callers import LOOK, Callers, LogSummary
from tests.bench.soak_report import Sample, Soak, as_json, as_plot, show
from tests.bench.vitals import SupervisorGoneError, Vitals, read_vitals

AGENT = "examples.bikes:agent"
SAMPLES = Path("build/soak.json")
SAMPLE_SECONDS = 5.0  # less in short runs
RAMP_SECONDS = 30.0  # in which the first callers come
IDLE_SECONDS = 15.0  # until a supervisor that has no more calls has given everything back
ATTEMPTS = 4  # calls alone at the end: idle connections are closed when the next one is made

ReadVitals = Callable[[], Awaitable[Vitals]]


async def soak(
    minutes: float,
    *,
    calls: int,
    seed: int,
    agent: str = AGENT,
    speed: float = 1.0,
    on_sample: Callable[[Sample], None] = lambda _: None,
) -> Soak:
    """Let callers come and go for a while; returns what was seen.

    Args:
        minutes: for how long callers are followed by others.
        calls: how many are alive at a time.
        seed: of what callers say.
        agent: who answers, with the tools of `examples.bikes`.
        speed: of the conversations; 1 is real time.
        on_sample: is called every few seconds.

    Raises:
        SupervisorGoneError: the supervisor does not answer any more.
    """
    logs = LogSummary()
    environment = {"HEALTH_ADDRESS": "127.0.0.1:0", "MAX_CALLS": str(2 * calls)}
    async with (
        local_system(
            agent=agent,
            options={"speed": speed, "log_entries": 1000},
            environment=environment,
            on_log=logs.add,
        ) as system,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http,
    ):
        supervisor, _ = await asyncio.gather(system.start_supervisor(), system.start_function())
        port = (await supervisor.logged("health_served"))["port"]
        store = open_store(system.environment["RECORDS"], project=system.environment["GOOGLE_CLOUD_PROJECT"])
        callers = Callers(system, store, Random(seed))  # noqa: S311 - the same callers for the same seed

        async def now() -> Vitals:
            return await read_vitals(supervisor, f"http://127.0.0.1:{port}/metrics", http)

        try:
            before = await _after_one_call(callers, now)
            samples = await _crowd(callers, now, calls, minutes * 60, on_sample)
            after = await _after_one_call(callers, now)
            for _ in range(ATTEMPTS - 1):
                if not after.within(before):
                    after = await _after_one_call(callers, now)
        finally:
            await store.close()
    return Soak(calls, minutes, seed, before, after, samples, callers, logs)


async def _after_one_call(callers: Callers, now: ReadVitals) -> Vitals:
    """Place one call alone; returns what the supervisor holds once it stands still.

    When time is up, what it holds then.
    """
    await callers.call([*LOOK, {"hang_up": True}])
    give_up_at = time.monotonic() + IDLE_SECONDS
    last = await now()
    while True:
        await asyncio.sleep(1)
        this = await now()
        if (this.idle and this.within(last) and last.within(this)) or time.monotonic() > give_up_at:
            return this
        last = this


async def _crowd(
    callers: Callers, now: ReadVitals, calls: int, seconds: float, on_sample: Callable[[Sample], None]
) -> list[Sample]:
    """Let the crowd come and go; returns samples of the supervisor."""
    samples: list[Sample] = []
    began = time.monotonic()

    async def watch() -> None:
        while True:
            vitals = await now()
            at_seconds = time.monotonic() - began
            samples.append(Sample(at_seconds, len(callers.lives_seconds), vitals, time.process_time()))
            on_sample(samples[-1])
            await asyncio.sleep(min(SAMPLE_SECONDS, seconds / 20))

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch(), name="watch")
        await callers.churn(calls, until=began + seconds, ramp_seconds=min(RAMP_SECONDS, seconds / 4))
        watching.cancel()
    return samples


def main(
    minutes: Annotated[float, typer.Option(min=1, max=24 * 60)] = 30.0,
    calls: Annotated[int, typer.Option(min=1, max=2000, help="How many are alive at a time.")] = 300,
    seed: Annotated[int, typer.Option(help="The same seed gives the same callers.")] = 1,
) -> None:
    """Let 300 calls at a time come, talk and go; what the supervisor holds must be given back.

    The exit status is 1 if it did not end as it began, or if a caller was not served.
    """
    console = Console(stderr=True, highlight=False)
    SAMPLES.parent.mkdir(exist_ok=True)
    SAMPLES.unlink(missing_ok=True)
    console.print(f"{calls} calls at a time for {minutes:g} minutes, seed {seed}")
    columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting")

        def on_sample(sample: Sample) -> None:
            progress.update(task, description=str(sample))

        try:
            soaked = asyncio.run(soak(minutes, calls=calls, seed=seed, on_sample=on_sample))
        except BaseExceptionGroup as errors:
            gone = errors.subgroup(SupervisorGoneError)
            if gone is None:
                raise
            console.print(str(_first(gone)), style="red", markup=False)
            raise typer.Exit(1) from None
    SAMPLES.write_bytes(orjson.dumps(as_plot(soaked)))
    show(console, soaked)
    sys.stdout.write(orjson.dumps(as_json(soaked)).decode() + "\n")
    raise typer.Exit(0 if soaked.passed else 1)


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    typer.run(main)
