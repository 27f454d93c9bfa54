"""Run everything on one machine, and again when code changes.

This is what `sideband dev` and `sideband call` do.

Function, two supervisors, a stand-in for OpenAI and an embedded Pub/Sub; a line for each thing that happens. A change
of code restarts what it concerns, supervisors one after the other, so that a living call goes through a hand-over, as
in a roll-out.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from rich.console import Console
from rich.markup import escape
from watchfiles import PythonFilter, awatch

from emulator.openai import Options, StandIn
from emulator.openai import serve as serve_openai
from emulator.system import ROOT, Process, System, local_system
from emulator.timeline import Timeline

ADDRESS = Path("build/dev.json")  # where `place_call`, run in the same folder, finds a running stand-in
FUNCTION = "function"
SUPERVISORS = ("supervisor A", "supervisor B")
CALL_SECONDS = 3600.0
POLL_SECONDS = 20.0
NOTHING_RUNS = "nothing runs in this folder; start it with: sideband dev AGENT"


class NothingRunsError(RuntimeError):
    """Nothing that takes calls was started in this folder."""


class AlreadyRunningError(RuntimeError):
    """Something that takes calls runs in this folder."""


@dataclass
class Dev:
    """What runs, by name, and how to start it again."""

    system: System
    timeline: Timeline
    running: dict[str, Process] = field(default_factory=dict)

    async def restart(self, name: str) -> None:
        """Stop the process of this name, if it runs, and start it.

        What keeps it from starting is printed.
        """
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
        """Restart what a change of code concerns, until cancelled."""
        folders = [path for path in (ROOT / "function", ROOT / "supervisor", agent) if path.exists()]
        async for changes in awatch(*folders, watch_filter=PythonFilter()):
            changed = [Path(path) for _, path in changes]
            self.timeline.line(None, "dev", f"changed: {', '.join(sorted(path.name for path in changed))}", "dim")
            for name in concerned(changed):
                await self.restart(name)


def concerned(changed: Sequence[Path]) -> list[str]:
    """Name the processes that have to be restarted.

    The function for its own code, supervisors for all that is not only its.
    """
    of_function = [path for path in changed if path.is_relative_to(ROOT / "function")]
    of_supervisors = [path for path in changed if path not in of_function or path.name == "notice.py"]
    return [*([FUNCTION] if of_function else []), *(SUPERVISORS if of_supervisors else [])]


async def run(agent: str, *, pubsub: str = "embedded") -> None:
    """Run until interrupted.

    Raises:
        AlreadyRunningError: it runs in this folder, from another terminal.
    """
    await _refuse_another()
    timeline = Timeline(Console())
    interrupted = _interrupted()
    async with local_system(agent=agent, pubsub=pubsub, on_log=timeline.on_log) as system:
        dev = Dev(system, timeline)
        for name in (FUNCTION, *SUPERVISORS):
            await dev.restart(name)
        with _announced(system.stand_in):
            ready = any(name in dev.running for name in SUPERVISORS)
            next_step = 'place a call in another terminal: sideband call --say "Hello?"'
            timeline.line(None, "dev", next_step if ready else "waits for a change of code", "bold")
            tasks = [
                system.group.create_task(timeline.follow(system.stand_in.log), name="timeline"),
                system.group.create_task(dev.follow_changes(_code_of(agent)), name="follow changes"),
            ]
            await interrupted.wait()
            timeline.line(None, "dev", "stops", "dim")
            for task in tasks:
                task.cancel()


def _interrupted() -> asyncio.Event:
    """Have Ctrl-C and SIGTERM set an event."""
    event = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    return event


def _code_of(agent: str) -> Path:
    """Find the folder or file that an agent's code is in, seen from here."""
    module = Path(*agent.partition(":")[0].split("."))
    file = module.with_suffix(".py")
    return file if file.exists() and len(module.parts) == 1 else Path(module.parts[0])


async def serve_stand_in(options: Options, *, host: str, port: int) -> None:
    """Serve the stand-in for OpenAI by itself, until interrupted.

    Function and supervisors run elsewhere.
    """
    timeline = Timeline(Console())
    interrupted = _interrupted()
    async with serve_openai(host, port, options) as stand_in, asyncio.TaskGroup() as group:
        with _announced(stand_in):
            timeline.line(None, "OpenAI", f"serves at {stand_in.base_url}", "bold")
            following = group.create_task(timeline.follow(stand_in.log), name="timeline")
            await interrupted.wait()
            following.cancel()


@contextmanager
def _announced(stand_in: StandIn) -> Iterator[None]:
    """Tell `place_call` where the stand-in is."""
    ADDRESS.parent.mkdir(exist_ok=True)
    address = orjson.dumps({"stand_in": stand_in.base_url.removesuffix("/v1")})
    ADDRESS.write_bytes(address)
    try:
        yield
    finally:
        if (
            ADDRESS.exists() and ADDRESS.read_bytes() == address
        ):  # else another was started since, and has its own there
            ADDRESS.unlink()


async def _refuse_another() -> None:
    """Refuse to start where another runs; what one that was killed has left behind does not count."""
    try:
        url = urlsplit(_address())
        _, writer = await asyncio.open_connection(url.hostname, url.port)
    except (NothingRunsError, OSError):
        return
    writer.close()
    raise AlreadyRunningError("another sideband dev runs in this folder: stop it first, or start in another folder")


@dataclass
class PlacedCall:
    """What a placed call came to."""

    call_id: str
    answered: bool = False
    """Whether a supervisor took the call and opened its sideband."""
    end_reason: str | None = None
    """Why it ended, as OpenAI's side saw it, such as `caller_hung_up`, `hangup` or `rejected`."""
    transcript: list[tuple[str, str]] = field(default_factory=list)
    """Who said or called what, in order: `caller`, `agent` or `tool`, and the words."""


async def place_call(
    say: Sequence[str], *, from_number: str, on_line: Callable[[str, str], None] = lambda _who, _text: None
) -> PlacedCall:
    """Place a call with what runs here; follow it to its end.

    Args:
        say: what the caller says, a turn each; then they hang up.
        from_number: the caller's number.
        on_line: is called with who said what, as it is said.

    Raises:
        NothingRunsError: nothing runs, or it stopped meanwhile.
    """
    script: list[dict[str, Any]] = [*({"caller": text} for text in say), {"hang_up": True}]
    try:
        async with aiohttp.ClientSession(_address(), raise_for_status=True) as http, asyncio.timeout(CALL_SECONDS):
            async with http.post("/stand-in/calls", json={"script": script, "from_number": from_number}) as answer:
                call = PlacedCall((await answer.json())["call_id"])
            on_line("call", call.call_id)
            await _follow(http, call, on_line)
            return call
    except aiohttp.ClientConnectionError as error:
        raise NothingRunsError(NOTHING_RUNS) from error


def _address() -> str:
    """Read where the stand-in of a running `sideband dev` is."""
    try:
        return str(orjson.loads(ADDRESS.read_bytes())["stand_in"])
    except FileNotFoundError as error:
        raise NothingRunsError(NOTHING_RUNS) from error


async def _follow(http: aiohttp.ClientSession, call: PlacedCall, on_line: Callable[[str, str], None]) -> None:
    """Fill in what is said and how the call ends."""
    seen, ended = 0, False
    while not ended:
        async with http.get(f"/stand-in/calls/{call.call_id}") as answer:
            state = await answer.json()
        ended = state["state"] == "ended"
        wait_seconds = 0.0 if ended else POLL_SECONDS  # what was said last may still be in the log
        query = {"call_id": call.call_id, "after": str(seen), "wait_seconds": str(wait_seconds)}
        async with http.get("/stand-in/log", params=query) as answer:
            entries = await answer.json()
        for entry in entries:
            seen = max(seen, entry["sequence"])
            if line := _spoken(entry):
                call.transcript.append(line)
                on_line(*line)
    call.answered, call.end_reason = state["attaches"] > 0, state["end_reason"]


def _spoken(entry: dict[str, Any]) -> tuple[str, str] | None:
    """Say who said or called what in a log entry."""
    payload = entry["payload"]
    match entry["kind"], entry["type"]:
        case "frame_out", "conversation.item.input_audio_transcription.completed":
            return "caller", payload["transcript"]
        case "frame_out", "response.output_audio_transcript.done":
            return "agent", payload["transcript"]
        case "frame_out", "response.function_call_arguments.done":
            return "tool", f"{payload['name']} {payload['arguments']}"
    return None
