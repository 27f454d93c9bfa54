"""The edge under load and under attack: what waits is bounded, what it costs is bounded, and it recovers by itself."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.deliveries import new_call, on_the_wire, signed
from tests.support.edge_process import PATIENCE_SECONDS, Edge, running_edge
from tests.support.edge_pubsub import create_topic, free_port, pubsub

THREADS = 8
WAVE = 60
BAD_SIGNATURES = 2000
MAX_GROWTH_KB = 8 * 1024


def status_of(pid: int) -> dict[str, int]:
    """Threads and memory (kB) of a process, as the kernel counts them."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {"threads": int(fields["Threads"]), "rss_kb": int(fields["VmRSS"].split()[0])}


async def wave(edge: Edge) -> Counter[tuple[int, str]]:
    """Deliver many calls at once; every one is refused politely."""
    answers = await asyncio.gather(*(edge.deliver(new_call()) for _ in range(WAVE)))
    assert {answer.headers.get("Retry-After") for answer in answers} == {"5"}
    return Counter(answer.error for answer in answers)


async def test_nothing_piles_up_behind_pubsub(tmp_path: Path) -> None:
    """While Pub/Sub hangs nothing piles up, and when it is back calls go through.

    Three waves of 60 calls on 8 threads against a Pub/Sub that takes connections and never answers.
    """
    port = free_port()
    settings = {
        "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{port}",
        "PUBLISH_TIMEOUT_SECONDS": "3",  # so that a wave arrives within it, however busy the machine is
        "THREADS": str(THREADS),
    }
    async with running_edge(tmp_path, settings) as edge:
        with socket.create_server(("127.0.0.1", port)):
            seen = []
            for _ in range(3):
                refused = await wave(edge)
                assert set(refused) <= {(503, "publish_failed"), (503, "busy")}
                assert refused[(503, "busy")] > refused[(503, "publish_failed")], "most are told at once"
                assert (await edge.request("GET", "/")).status == 200
                seen.append(status_of(edge.worker))
        assert seen[-1]["threads"] == seen[0]["threads"]
        assert seen[-1]["rss_kb"] - seen[0]["rss_kb"] < MAX_GROWTH_KB
        assert sum("busy" in line for line in edge.log_lines) <= 10, "the log is sampled"

        async with pubsub(port) as (host_port, claims):
            await create_topic(host_port)
            call = new_call()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (await edge.deliver(call)).status != 200:
                    pass  # gRPC connects again within a second or so
            await claims.next_message()
        assert edge.restarted_workers.empty()


async def test_waiting_threads_leave_others_free(tmp_path: Path) -> None:
    """Threads that wait for Pub/Sub leave others for requests that do not."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        settings = {"PUBSUB_EMULATOR_HOST": where, "PUBLISH_TIMEOUT_SECONDS": "15", "THREADS": str(THREADS)}
        async with running_edge(tmp_path, settings) as edge:
            waiting = [asyncio.create_task(edge.deliver(new_call()), name="call") for _ in range(THREADS // 2)]
            assert (await edge.request("GET", "/")).status == 200
            assert (await edge.deliver(new_call(), webhook_id="wh_2")).error == (401, "invalid_signature")
            assert not any(task.done() for task in waiting)
            assert {answer.error for answer in await asyncio.gather(*waiting)} == {(503, "publish_failed")}


async def test_bad_signatures_do_not_fill_the_log(tmp_path: Path) -> None:
    """Of many bad signatures few are logged.

    Of 2,000 deliveries with a bad signature 10 are logged in a minute; `tests/bench` measures what they cost.
    """
    body = new_call()
    request = on_the_wire("POST", "/webhooks/openai", body, signed(body, timestamp=int(time.time()), webhook_id="wh_2"))
    async with running_edge(tmp_path, PUBSUB_EMULATOR_HOST="127.0.0.1:1") as edge:
        await edge.repeat(request, BAD_SIGNATURES, status=401)
        assert sum("invalid_signature" in line for line in edge.log_lines) == 10


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_trickling_body_is_cut_off(tmp_path: Path, framing: str) -> None:
    """A body that trickles in is cut off, and holds nobody up.

    A byte each tenth of a second: no pause is long, but the whole takes too long.
    """
    async with running_edge(tmp_path, PUBSUB_EMULATOR_HOST="127.0.0.1:1", THREADS="4") as edge:
        port = int(edge.url.rpartition(":")[2])
        head = f"POST / HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode()

        async def trickle() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            answer = asyncio.create_task(reader.readuntil(b"\r\n"), name="answer")
            while not answer.done():
                with suppress(ConnectionError):
                    writer.write(b"1\r\n{\r\n" if "chunked" in framing else b"{")
                await asyncio.wait({answer}, timeout=0.1)
            writer.close()
            return answer.result()

        slow = [asyncio.create_task(trickle(), name="trickle") for _ in range(3)]
        assert (await edge.request("GET", "/")).status == 200
        assert not any(task.done() for task in slow)
        async with asyncio.timeout(PATIENCE_SECONDS):  # the whole body would take more than three times as long
            answers = await asyncio.gather(*slow)
        assert all(b" 408 " in answer for answer in answers)
        assert edge.logs[-1]["code"] == "body_too_slow"
