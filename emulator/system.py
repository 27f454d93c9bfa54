"""The whole system on one machine, function and supervisors as real processes.

    async with local_system(agent="examples.bikes:agent") as system:
        await system.start_supervisor()
        call = await system.stand_in.place_call(script=[...])

The demo and the tests of whole processes run on it. It speaks to the function and the supervisors only as the world
does: HTTP, WebSocket, gRPC, environment variables, signals.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import orjson

from emulator.openai import Options, StandIn
from emulator.openai import serve as serve_openai
from emulator.pubsub import serve as serve_pubsub
from emulator.pubsub.google import google_emulator
from emulator.pubsub.topology import create_calls

ROOT = Path(__file__).resolve().parent.parent
TOPIC = "calls"
SUBSCRIPTION = "calls-supervisor"
DEAD_LETTERS = "calls-dead"
START_SECONDS = 30.0
STOP_SECONDS = 12.0

LogLine = Mapping[str, Any]
OnLog = Callable[["Process", LogLine], None]


@dataclass(eq=False)
class Process:
    """A child process that logs JSON lines."""

    name: str
    child: asyncio.subprocess.Process
    lines: list[LogLine] = field(default_factory=list)
    _seen: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def pid(self) -> int:
        """The process id; also the id of its process group."""
        return self.child.pid

    @property
    def running(self) -> bool:
        """Whether it has not exited."""
        return self.child.returncode is None

    async def logged(self, message: str, within_seconds: float = START_SECONDS) -> LogLine:
        """Wait for the first log line with this message.

        Raises:
            RuntimeError: the process ended, or time ran out, without it; the last lines are in the message.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_seconds), self._seen:
                await self._seen.wait_for(lambda: self._find(message) or not self.running)
        if line := self._find(message):
            return line
        tail = "\n".join(str(line.get("message", line)) for line in self.lines[-10:])
        raise RuntimeError(
            f"{self.name} did not log {message!r} within {within_seconds:.0f} s; its last lines:\n{tail}"
        )

    def _find(self, message: str) -> LogLine | None:
        return next((line for line in self.lines if line.get("message") == message), None)

    async def follow(self, on_log: OnLog) -> None:
        """Read the process's log until it ends."""
        stdout = self.child.stdout
        while stdout and (raw := await stdout.readline()):
            try:
                parsed = orjson.loads(raw)
            except orjson.JSONDecodeError:
                parsed = None
            line = parsed if isinstance(parsed, dict) else {"message": raw.decode(errors="replace").rstrip()}
            async with self._seen:
                self.lines.append(line)
                self._seen.notify_all()
            on_log(self, line)
        await self.child.wait()
        async with self._seen:
            self._seen.notify_all()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and its children, if it runs."""
        if self.running:
            os.killpg(self.pid, number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the process; it is killed if it takes too long."""
        self.send(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.child.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self.child.wait()


@dataclass(eq=False)
class System:
    """What runs, and how to run more of it."""

    pubsub: str
    """Pub/Sub's HOST:PORT."""
    stand_in: StandIn
    environment: dict[str, str]
    """The settings of function and supervisors; change them before starting one."""
    on_log: OnLog
    group: asyncio.TaskGroup
    processes: list[Process] = field(default_factory=list)

    async def start_function(self) -> Process:
        """Start the function under functions-framework and point OpenAI's webhook at it."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = ("-m", "functions_framework", "--source", str(ROOT / "function/main.py"), "--target", "edge")
        process = await self._start("function", *arguments, "--host", "127.0.0.1", "--port", str(port))
        url = f"http://127.0.0.1:{port}/"
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as http:
            while process.running:
                with suppress(aiohttp.ClientError):
                    async with http.get(url):
                        break
                await asyncio.sleep(0.05)  # functions-framework does not say when it listens
            else:
                raise RuntimeError(f"the function did not start: {process.lines[-5:]}")
        self.stand_in.options.change({"webhook_url": f"{url}webhooks/openai"})
        return process

    async def start_supervisor(
        self, name: str = "supervisor", *, module: str = "supervisor", **environment: str
    ) -> Process:
        """Start a supervisor, and wait until it claims calls.

        `module` is what `python -m` runs, with its arguments.
        """
        process = await self._start(name, "-m", *module.split(), **environment)
        await process.logged("started")
        return process

    async def _start(self, name: str, *arguments: str, **environment: str) -> Process:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env={**os.environ, **self.environment, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=1024 * 1024,
        )
        process = Process(name, child)
        self.processes.append(process)
        self.group.create_task(process.follow(self.on_log), name=f"follow {name}")
        return process


@asynccontextmanager
async def local_system(
    *,
    agent: str,
    pubsub: str = "embedded",
    options: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    on_log: OnLog = lambda _process, _line: None,
) -> AsyncIterator[System]:
    """Run Pub/Sub and OpenAI's stand-in; yields a `System` for the rest.

    Args:
        agent: what supervisors run, as module:attribute.
        pubsub: `embedded`; `google` for Google's emulator; or the HOST:PORT of one that already runs.
        options: of the stand-in for OpenAI.
        environment: more settings for the function and the supervisors.
        on_log: called with each line that a process logs.
    """
    key = "sk-local"
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    stand_in_options = Options.model_validate({"api_keys": [key], "webhook_secrets": [secret], **(options or {})})
    async with AsyncExitStack() as stack:
        host_port = pubsub
        if pubsub == "google":
            host_port = await stack.enter_async_context(google_emulator())
        elif pubsub == "embedded":
            host_port = (await stack.enter_async_context(serve_pubsub())).host_port
        project = f"local-{secrets.token_hex(4)}"  # so that several systems can share one Pub/Sub
        await create_calls(
            host_port, project=project, topic=TOPIC, subscription=SUBSCRIPTION, dead_letter_topic=DEAD_LETTERS
        )
        folder = stack.enter_context(TemporaryDirectory(prefix="sideband-"))
        stand_in = await stack.enter_async_context(serve_openai(options=stand_in_options))
        settings = {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "PYTHONUNBUFFERED": "1",
            "PUBSUB_EMULATOR_HOST": host_port,
            "GOOGLE_CLOUD_PROJECT": project,
            "CALLS_TOPIC": TOPIC,
            "CALLS_SUBSCRIPTION": SUBSCRIPTION,
            "OPENAI_API_KEY": key,
            "OPENAI_BASE_URL": stand_in.base_url,
            "OPENAI_WEBHOOK_SECRET": secret,
            "SIDEBAND_AGENT": agent,
            "RECORDS": f"sqlite:{folder}/records.sqlite",
            **(environment or {}),
        }
        group = await stack.enter_async_context(asyncio.TaskGroup())
        system = System(host_port, stand_in, settings, on_log, group)
        try:
            yield system
        finally:
            await asyncio.gather(*(process.stop() for process in system.processes))
