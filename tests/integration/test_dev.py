"""`sideband dev` and `call`: everything on one machine, and again when code changes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from emulator.dev import FUNCTION, SUPERVISORS, concerned
from emulator.openai import Options, serve
from emulator.system import ROOT, local_system

SECONDS = 60
SHOP = """
from sideband import Agent
session = {"model": "gpt-realtime-2.1", "audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}}}}
agent = Agent(session=session, greeting="Say hello.")
"""


class Command:
    """A command that runs, and what it prints."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.child = child
        self.printed: list[str] = []

    async def prints(self, *words: str) -> str:
        """Wait for a line that holds all of these words."""
        assert self.child.stdout
        async with asyncio.timeout(SECONDS):
            while line := (await self.child.stdout.readline()).decode():
                self.printed.append(line)
                if all(word in line for word in words):
                    return line
        raise AssertionError(f"never printed {words}:\n{''.join(self.printed)}")


@asynccontextmanager
async def command(folder: Path, *arguments: str, module: str = "sideband") -> AsyncIterator[Command]:
    """Run a module's command in a folder."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Command(child)
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGINT)
        async with asyncio.timeout(SECONDS):
            await child.communicate()


async def test_a_changed_agent_is_restarted(tmp_path: Path) -> None:
    """A call is served, and a change of the agent restarts both supervisors."""
    shop = tmp_path / "shop.py"
    shop.write_text(SHOP)
    async with command(tmp_path, "dev", "shop:agent") as dev:
        await dev.prints("place a call")
        async with command(tmp_path, "call", "--say", "Is it ready?", "--say", "Thank you.") as call:
            await call.prints("caller  Is it ready?")
            await call.prints("caller  Thank you.")
            await call.prints("ended   caller_hung_up")
            assert await call.child.wait() == 0
        await dev.prints("settled: caller_hung_up")

        shop.write_text("agent = None\n")
        await dev.prints("changed: shop.py")
        await dev.prints("supervisor A", "does not start", "'agent' is nothing, not an Agent")
        await dev.prints("supervisor B", "does not start")
        shop.write_text(SHOP)
        await dev.prints("supervisor A", "runs")
        await dev.prints("supervisor B", "runs")
        dev.child.send_signal(signal.SIGTERM)
        await dev.prints("stops")
        assert await dev.child.wait() == 0
    assert not (tmp_path / "build/dev.json").exists()


async def test_a_second_one_is_refused(tmp_path: Path) -> None:
    """A second `dev` in the same folder is refused, and the first goes on taking calls."""
    (tmp_path / "shop.py").write_text(SHOP)
    async with command(tmp_path, "dev", "shop:agent") as dev:
        await dev.prints("place a call")
        async with command(tmp_path, "dev", "shop:agent") as second:
            await second.prints("another sideband dev runs in this folder")
            assert await second.child.wait() == 2
        async with command(tmp_path, "call", "--say", "Is it ready?") as call:
            await call.prints("ended   caller_hung_up")


@pytest.mark.parametrize(
    ("agent", "says"),
    [("shop", "write the agent as module:attribute"), ("nope:agent", "no module named 'nope'")],
    ids=["no attribute", "no module"],
)
async def test_a_wrong_path_is_refused(tmp_path: Path, agent: str, says: str) -> None:
    """A path that no change of code can make right ends `dev` at once."""
    async with command(tmp_path, "dev", agent) as dev:
        await dev.prints(says)
        assert await dev.child.wait() == 2


async def test_a_call_where_nothing_runs(tmp_path: Path) -> None:
    """A call where nothing runs says what to start."""
    async with command(tmp_path, "call") as call:
        await call.prints("nothing runs in this folder; start it with: sideband dev AGENT")
        assert await call.child.wait() == 2


async def test_unanswered_call_fails(tmp_path: Path) -> None:
    """A script can tell from the exit status and the JSON that nobody took the call."""
    options = Options.model_validate({"api_keys": ["sk-local"], "ring_seconds": 0.2})
    async with serve(options=options) as stand_in:
        (tmp_path / "build").mkdir()
        (tmp_path / "build/dev.json").write_text(json.dumps({"stand_in": stand_in.base_url.removesuffix("/v1")}))
        async with command(tmp_path, "call", "--json") as call:
            placed = json.loads(await call.prints("{"))
            assert (placed["answered"], placed["end_reason"]) == (False, "gave_up")
            assert await call.child.wait() == 1


async def test_it_serves_what_runs_elsewhere(tmp_path: Path) -> None:
    """The stand-in serves a system that runs elsewhere.

    As emulator/compose.yaml has it: a Pub/Sub that runs already, and a function at an address that is known.
    """
    async with local_system(agent="examples.bikes:agent") as system:
        await system.start_function()
        secret, project = system.environment["OPENAI_WEBHOOK_SECRET"], system.environment["GOOGLE_CLOUD_PROJECT"]
        arguments = (
            *("--webhook-url", str(system.stand_in.options.webhook_url), "--port", "0", "--pubsub", system.pubsub),
            *("--api-key", "sk-local", "--webhook-secret", secret, "--project", project),
        )
        async with command(tmp_path, "openai", *arguments, module="emulator") as openai:
            url = (await openai.prints("serves at ")).split()[-1]
            await system.start_supervisor(OPENAI_BASE_URL=url, OPENAI_API_KEY="sk-local")
            async with command(tmp_path, "call", "--say", "Hello?") as call:
                await call.prints("ended   caller_hung_up")
            await openai.prints("sideband attached")


@pytest.mark.parametrize(
    ("changed", "restarted"),
    [
        ("function/webhook.py", [FUNCTION]),
        ("function/notice.py", [FUNCTION, *SUPERVISORS]),
        ("supervisor/owner.py", [*SUPERVISORS]),
        ("examples/bikes.py", [*SUPERVISORS]),
    ],
)
def test_a_change_restarts_what_it_concerns(changed: str, restarted: list[str]) -> None:
    """A change restarts the processes that it concerns."""
    assert concerned([ROOT / changed]) == restarted
