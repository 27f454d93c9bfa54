"""The health port: what each address answers, over a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from supervisor.errors import StartupError
from supervisor.telemetry.health import serving
from supervisor.telemetry.metrics import State

STATE = State(calls=2, max_calls=10, leases=3, ready=True)


@asynccontextmanager
async def served(state: State) -> AsyncIterator[int]:
    """Serve health on a free port, and give it."""
    with capture_logs() as lines:
        async with serving("127.0.0.1:0", lambda: state):
            yield lines[0]["port"]


async def get(port: int, path: str) -> tuple[int, str, str]:
    """Ask for a path: its status, content type and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(10):
        answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
    return int(head.split()[1]), headers["Content-Type"], body


@pytest.mark.parametrize(("path", "status"), [("/livez", 200), ("/readyz", 503), ("/readyz?verbose", 503)])
async def test_not_ready(path: str, status: int) -> None:
    """A supervisor that claims no calls is alive, and not ready; both answers have its state."""
    state = State(calls=0, max_calls=10, leases=0, ready=False)
    async with served(state) as port:
        answered, content_type, body = await get(port, path)
    assert (answered, content_type) == (status, "application/json")
    assert json.loads(body) == {"calls": 0, "max_calls": 10, "leases": 0, "ready": False}


@pytest.mark.parametrize(
    ("path", "status", "content"),
    [("/readyz", 200, '"leases":3'), ("/metrics", 200, "# HELP"), ("/", 404, "/livez"), ("/livez/x", 404, "/livez")],
)
async def test_answers(path: str, status: int, content: str) -> None:
    """Each address has its answer; any other is 404, with those that there are."""
    async with served(STATE) as port:
        answered, _, body = await get(port, path)
    assert answered == status
    assert content in body


async def test_no_address() -> None:
    """Without an address nothing is served."""
    async with serving("", lambda: STATE):
        pass


async def test_an_address_that_is_taken() -> None:
    """An address that is taken is named in one line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StartupError, match=f"HEALTH_ADDRESS={address}") as raised:
            async with serving(address, lambda: STATE):
                pass
    assert "\n" not in str(raised.value)
