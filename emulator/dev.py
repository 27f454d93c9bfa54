"""Everything on one machine, and again when code changes: `python -m emulator dev`.

Function, two supervisors, a stand-in for OpenAI and an embedded Pub/Sub; a line for each thing that happens. Another
terminal places calls: `python -m emulator call --say "Is my bike ready?"`. A change of code restarts what it concerns,
supervisors one after the other, so that a call that is on goes through a hand-over, as in a roll-out.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from rich.console import Console
from rich.markup import escape
from watchfiles import PythonFilter, awatch

from emulator.demo import Timeline
from emulator.openai import Options, StandIn
from emulator.openai import serve as serve_openai
from emulator.system import ROOT, Process, System, local_system

ADDRESS = Path("build/dev.json")  # where the other commands, run in the same folder, find a running one
FUNCTION = "function"
SUPERVISORS = ("supervisor A", "supervisor B")
CALL_SECONDS = 3600.0
POLL_SECONDS = 20.0
NOTHING_RUNS = "nothing runs here; start it with: make dev"


class NothingRunsError(RuntimeError):
    """No `python -m emulator dev` was started in this folder."""


@dataclass
class Dev:
    """What runs, by name, and how to run it anew."""

    system: System
    timeline: Timeline
    running: dict[str, Process] = field(default_factory=dict)

    async def restart(self, name: str) -> None:
        """Stop what has this name, if it runs, and start it; what keeps it from starting is shown."""
        if old := self.running.pop(name, None):
            self.system.processes.remove(old)
            await old.stop()
        try:
            if name == FUNCTION:
                process = await self.system.start_function()
            else:
                process = await self.system.start_supervisor(name)
        except RuntimeError as error:
            self.timeline.line(None, name, f"does not start: {escape(str(error).splitlines()[-1])}", "red")
            return
        self.running[name] = process
        self.timeline.name(process)
        self.timeline.line(None, name, "runs", "dim")

    async def follow_changes(self, agent: Path) -> None:
        """Restart what a change concerns, for ever."""
        watched = [ROOT / "function", ROOT / "supervisor", agent]
        async for changes in awatch(*watched, watch_filter=PythonFilter()):
            changed = [Path(path) for _, path in changes]
            self.timeline.line(None, "dev", f"changed: {', '.join(sorted(path.name for path in changed))}", "dim")
            for name in concerned(changed):
                await self.restart(name)


def concerned(changed: Sequence[Path]) -> list[str]:
    """What has to be started again: the function for its own code, supervisors for all but what only it uses."""
    of_function = [path for path in changed if path.is_relative_to(ROOT / "function")]
    of_supervisors = [path for path in changed if path not in of_function or path.name == "notice.py"]
    return [*([FUNCTION] if of_function else []), *(SUPERVISORS if of_supervisors else [])]


async def run(agent: str, *, pubsub: str = "embedded", console: Console | None = None) -> None:
    """Run until interrupted."""
    console = console or Console()
    timeline = Timeline(console)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    module = Path(*agent.partition(":")[0].split("."))
    async with local_system(agent=agent, pubsub=pubsub, on_log=timeline.on_log) as system:
        dev = Dev(system, timeline)
        for name in (FUNCTION, *SUPERVISORS):
            await dev.restart(name)
        with _announced(system.stand_in):
            timeline.line(
                None, "dev", 'place a call in another terminal: python -m emulator call --say "Hello?"', "bold"
            )
            beside = [
                system.group.create_task(timeline.follow(system.stand_in.log), name="timeline"),
                system.group.create_task(dev.follow_changes(_watchable(module)), name="follow changes"),
            ]
            await stop.wait()
            timeline.line(None, "dev", "stops", "dim")
            for task in beside:
                task.cancel()


def _watchable(module: Path) -> Path:
    """The folder or file that an agent's code is in."""
    file = module.with_suffix(".py")
    return file if file.exists() and len(module.parts) == 1 else Path(module.parts[0])


async def serve_stand_in(options: Options, *, host: str, port: int, console: Console | None = None) -> None:
    """Serve the stand-in for OpenAI by itself, for function and supervisors that run elsewhere, until interrupted."""
    timeline = Timeline(console or Console())
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve_openai(host, port, options) as stand_in, asyncio.TaskGroup() as group:
        with _announced(stand_in):
            timeline.line(None, "OpenAI", f"serves at {stand_in.base_url}", "bold")
            following = group.create_task(timeline.follow(stand_in.log), name="timeline")
            await stop.wait()
            following.cancel()


@contextmanager
def _announced(stand_in: StandIn) -> Iterator[None]:
    """Tell the other commands where the stand-in is."""
    ADDRESS.parent.mkdir(exist_ok=True)
    ADDRESS.write_bytes(orjson.dumps({"stand_in": stand_in.base_url.removesuffix("/v1")}))
    try:
        yield
    finally:
        ADDRESS.unlink(missing_ok=True)


async def place_call(says: Sequence[str], *, from_number: str, console: Console | None = None) -> str:
    """Place a call with what runs, and show what is said until it ends; returns why it ended.

    Raises:
        NothingRunsError: nothing runs, or it stopped meanwhile.
    """
    console = console or Console()
    address = _read_address()
    script: list[dict[str, Any]] = [*({"caller": text} for text in says), {"hang_up": True}]
    try:
        async with aiohttp.ClientSession(address, raise_for_status=True) as http, asyncio.timeout(CALL_SECONDS):
            async with http.post("/stand-in/calls", json={"script": script, "from_number": from_number}) as answer:
                call_id = (await answer.json())["call_id"]
            console.print(f"[bold]{call_id}[/] rings")
            return await _follow(http, call_id, console)
    except aiohttp.ClientConnectionError as error:
        raise NothingRunsError(NOTHING_RUNS) from error


def _read_address() -> str:
    """Where the stand-in of a running `dev` is."""
    try:
        return str(orjson.loads(ADDRESS.read_bytes())["stand_in"])
    except FileNotFoundError as error:
        raise NothingRunsError(NOTHING_RUNS) from error


async def _follow(http: aiohttp.ClientSession, call_id: str, console: Console) -> str:
    seen = 0
    while True:
        query = {"call_id": call_id, "after": str(seen), "wait_seconds": str(POLL_SECONDS)}
        async with http.get("/stand-in/log", params=query) as answer:
            entries = await answer.json()
        for entry in entries:
            seen = max(seen, entry["sequence"])
            if line := _said(entry):
                console.print(line, highlight=False)
        async with http.get(f"/stand-in/calls/{call_id}") as answer:
            call = await answer.json()
        if call["state"] == "ended":
            console.print(f"[bold]{call_id}[/] ended: {call['end_reason']}")
            return str(call["end_reason"])


def _said(entry: dict[str, Any]) -> str | None:
    payload = entry["payload"]
    match entry["kind"], entry["type"]:
        case "frame_out", "conversation.item.input_audio_transcription.completed":
            return f"  caller  {escape(payload['transcript'])}"
        case "frame_out", "response.output_audio_transcript.done":
            return f"  agent   {escape(payload['transcript'])}"
        case "frame_out", "response.function_call_arguments.done":
            return f"  tool    {payload['name']} {escape(payload['arguments'])}"
    return None
