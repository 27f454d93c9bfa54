"""The function as a process of its own: functions-framework under gunicorn, as it is deployed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp

from tests.support.deliveries import OTHER_SECRET, SECRET, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PROJECT = "demo-project"
PATIENCE_SECONDS = 30
KEPT_ALIVE = 4  # connections of `Edge.repeat`
STOP_SECONDS = 45  # gunicorn gives a worker 30 s, and one that is told before it hears signals takes them all
FROM_REPOSITORY = (sys.executable, "-m", "functions_framework", "--source", "function/main.py", "--target", "edge")


class Answer:
    """What the function answered."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def outcome(self) -> tuple[int, str]:
        """The status, and what became of the event."""
        return self.status, json.loads(self.text)["outcome"]

    @property
    def error(self) -> tuple[int, str]:
        """The status and the code of an error, which is one line of JSON."""
        assert self.headers["Content-Type"] == "application/json"
        assert self.text.count("\n") == 1
        error = json.loads(self.text)["error"]
        assert set(error) == {"code", "message"}
        return self.status, error["code"]


class Edge:
    """A running function."""

    def __init__(self, url: str, worker: int, session: aiohttp.ClientSession, log_file: Path) -> None:
        self.url = url
        self.worker = worker
        """The worker's process id."""
        self.restarted_workers: asyncio.Queue[int] = asyncio.Queue()
        """The process ids of the workers that had to replace another."""
        self._session = session
        self._log_file = log_file

    @property
    def log_lines(self) -> list[str]:
        """What it has logged so far."""
        return self._log_file.read_text().splitlines()

    @property
    def logs(self) -> list[dict[str, Any]]:
        """The same, parsed."""
        return [json.loads(line) for line in self.log_lines]

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | AsyncIterator[bytes] = b"",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """Send a request over a connection of its own."""
        async with self._session.request(method, self.url + path, data=body, headers=headers) as response:
            return Answer(response.status, response.headers, await response.text())

    async def deliver(self, body: bytes, *, path: str = "/webhooks/openai", **changed: str) -> Answer:
        """Deliver a webhook, signed just now, with some headers changed after that."""
        return await self.request("POST", path, body, signed(body, timestamp=int(time.time()), **changed))

    async def send(self, request: bytes, *, then_end: bool = False) -> Answer:
        """Send bytes that no HTTP client would, and close this direction if `then_end`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))
            try:
                writer.write(request)
                if then_end:
                    writer.write_eof()
                return await _next_answer(reader)
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def repeat(self, request: bytes, times: int, *, status: int) -> None:
        """Send a request many times, over a few connections that are kept alive.

        Raises:
            AssertionError: an answer had another status.
        """
        async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as group:
            for number in range(KEPT_ALIVE):
                group.create_task(self._repeat(request, times // KEPT_ALIVE, status), name=f"connection {number}")

    async def _repeat(self, request: bytes, times: int, status: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))
        for _ in range(times):
            writer.write(request)
            answer = await _next_answer(reader)
            assert answer.status == status, answer.text
        writer.close()
        await writer.wait_closed()


async def _next_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one answer off a connection."""
    status = int((await reader.readline()).split()[1])
    headers = dict[str, str]()
    while line := (await reader.readline()).decode().strip():
        name, _, value = line.partition(": ")
        headers[name] = value
    body = await reader.readexactly(int(headers["Content-Length"]))
    return Answer(status, headers, body.decode())


@asynccontextmanager
async def running_edge(
    folder: Path,
    more_settings: Mapping[str, str] | None = None,
    *,
    command: Sequence[str | Path] = FROM_REPOSITORY,
    cwd: Path = ROOT,
    port: int = 0,
    **settings: str,
) -> AsyncIterator[Edge]:
    """Run the function until the block is left.

    Args:
        folder: where its log goes.
        more_settings: environment variables, beside `settings`.
        command: what serves it, without host and port.
        cwd: where the command runs.
        port: a free one unless it is named.
        settings: environment variables.
    """
    log_file = folder / f"edge-{uuid4().hex}.log"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "OPENAI_WEBHOOK_SECRET": f"{OTHER_SECRET} {SECRET}",
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "CALLS_TOPIC": "calls",
        "GUNICORN_LOG_LEVEL": "info",
    }
    with log_file.open("wb") as stdout:
        process = await asyncio.create_subprocess_exec(
            *command, "--host", "127.0.0.1", "--port", str(port),
            cwd=cwd,
            env=environment | settings | dict(more_settings or {}),
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    assert process.stderr
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            url = await _line_with(process.stderr, r"Listening at: (\S+)")
            worker = await _line_with(process.stderr, r"Booting worker with pid: (\d+)")
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(PATIENCE_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            edge = Edge(url, int(worker), session, log_file)
            watch = asyncio.create_task(
                _watch_workers(process.stderr, edge.restarted_workers), name="watch the workers"
            )
            try:
                yield edge
            finally:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait_for(process.communicate(), STOP_SECONDS)


async def _line_with(stderr: asyncio.StreamReader, pattern: str) -> str:
    """Read until a line fits; returns what its group holds."""
    lines = []
    while line := (await stderr.readline()).decode():
        lines.append(line)
        if match := re.search(pattern, line):
            return match[1]
    raise AssertionError(f"the function did not start: {''.join(lines)}")


async def _watch_workers(stderr: asyncio.StreamReader, restarted: asyncio.Queue[int]) -> None:
    while line := (await stderr.readline()).decode():
        if match := re.search(r"Booting worker with pid: (\d+)", line):
            restarted.put_nowait(int(match[1]))
