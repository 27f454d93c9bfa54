"""Google's own emulators as child processes, of Pub/Sub and of Firestore.

They come with the Google Cloud CLI and need Java.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Iterator

START_SECONDS = 30.0
STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05
_TRIES = 3
_LOG_BYTES = 16 * 1024
_SDK_HOMES = ("/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk", "~/google-cloud-sdk")


class EmulatorMissingError(RuntimeError):
    """The emulator or Java is not installed; the message says what to do."""


class EmulatorFailedError(RuntimeError):
    """The emulator does not serve; the message ends with its log."""


class _PortTakenError(EmulatorFailedError):
    pass


@asynccontextmanager
async def google_emulator(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Run Google's Pub/Sub emulator for the block; yields `host:port`.

    JVM options go through `CLOUD_PUBSUB_EMULATOR_OPTS`, such as `-Xmx256m`.

    Raises:
        EmulatorMissingError: the Google Cloud CLI, its Pub/Sub emulator or Java is not installed.
        EmulatorFailedError: it did not begin to serve, most likely because the port is taken.
    """
    program = _component("pubsub-emulator", "bin/cloud-pubsub-emulator")
    async with _serving([str(program)], host, port, says_when_ready="Server started") as host_port:
        yield host_port


@asynccontextmanager
async def google_firestore_emulator(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Run Google's Firestore emulator for the block; yields `host:port`.

    It keeps everything in memory, and asks for no credentials. JVM options go through `JDK_JAVA_OPTIONS`.

    Raises:
        EmulatorMissingError: the Google Cloud CLI, its Firestore emulator or Java is not installed.
        EmulatorFailedError: it did not begin to serve, most likely because the port is taken.
    """
    program = _component("cloud-firestore-emulator", "cloud_firestore_emulator")
    async with _serving([str(program), "start"], host, port, says_when_ready="is now running") as host_port:
        yield host_port


def _component(name: str, program: str) -> Path:
    """Find a program of the Google Cloud CLI's component `name`."""
    homes = list(_sdk_homes())
    found = next((path for home in homes if (path := home / "platform" / name / program).is_file()), None)
    if found is None:
        where = "is not installed" if homes else "needs the Google Cloud CLI, which is not installed"
        raise EmulatorMissingError(f"Google's {name} {where}; install it with: gcloud components install {name}")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise EmulatorMissingError(f"Google's {name} needs Java; put java on the PATH")
    return found


def _sdk_homes() -> Iterator[Path]:
    """Yield where the Google Cloud CLI may be, the likeliest first."""
    if root := os.environ.get("CLOUDSDK_ROOT"):
        yield Path(root)
    if gcloud := shutil.which("gcloud"):
        yield Path(gcloud).resolve().parent.parent
    yield from (home for path in _SDK_HOMES if (home := Path(path).expanduser()).is_dir())


@asynccontextmanager
async def _serving(command: list[str], host: str, port: int, *, says_when_ready: str) -> AsyncIterator[str]:
    """Run an emulator for the block; yields its `host:port`.

    For port 0 another free one is tried if somebody was quicker.
    """
    for tries_left in reversed(range(_TRIES)):
        chosen = port or _free_port(host)
        async with _child([*command, f"--host={host}", f"--port={chosen}"]) as (process, log):
            try:
                await _ready(process, log, says_when_ready, f"{host}:{chosen}")
            except _PortTakenError:
                if port or not tries_left:
                    raise
                continue
            yield f"{host}:{chosen}"
            return


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def _child(command: list[str]) -> AsyncIterator[tuple[Process, int]]:
    """Run a child in its own process group; yields it and its log.

    The log is a file: a pipe would fill up and block the child.
    """
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process, log.fileno()
        finally:
            await _end(process)


async def _ready(process: Process, log: int, says_when_ready: str, host_port: str) -> None:
    """Wait until the emulator says that it serves.

    When the port is taken it says so, and does not end.
    """
    said = ""
    try:
        async with asyncio.timeout(START_SECONDS):
            while says_when_ready not in said:
                if "Address already in use" in said:
                    raise _PortTakenError(f"{host_port} is taken; choose another port, or 0 for a free one")
                if process.returncode is not None:
                    raise EmulatorFailedError(f"the emulator ended with exit code {process.returncode}:\n{said}")
                await asyncio.sleep(_POLL_SECONDS)
                said = os.pread(log, _LOG_BYTES, 0).decode(errors="replace")
    except TimeoutError:
        raise EmulatorFailedError(f"the emulator did not serve within {START_SECONDS:.0f} s:\n{said}") from None


async def _end(process: Process) -> None:
    """End the child and what it started: by SIGTERM, then by SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
