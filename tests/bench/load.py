"""The load on a function, from a process of its own: `python -m tests.bench.load PORT REQUESTS CONNECTIONS`.

Each request is a call of its own, as OpenAI announces it, signed just now; all are made before the clock starts. Each
connection is kept alive and sends its next request when the last was answered.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TypedDict
from uuid import uuid4

from tests.support.deliveries import incoming, on_the_wire, signature, signed

PATIENCE_SECONDS = 10

# About what a carrier's INVITE has.
SIP_HEADERS = [
    {"name": name, "value": value}
    for name, value in {
        "Via": "SIP/2.0/TLS 203.0.113.7:5061;branch=z9hG4bK-524287-1---8d7f3c5e2a9b4f10;rport",
        "From": '"Delft Bikes" <sip:+31201234567@sip.example.com>;tag=8f3a2c1d',
        "To": "<sip:proj_8kPq2Zs0@sip.api.openai.com;transport=tls>",
        "Call-ID": "3c2671d8-4b7e-4f5a-9d1c-5a6b7c8d9e0f@203.0.113.7",
        "CSeq": "102 INVITE",
        "Contact": "<sip:+31201234567@203.0.113.7:5061;transport=tls>",
        "User-Agent": "Carrier SBC 7.2",
        "X-Account": "delft-bikes",
    }.items()
]


class Load(TypedDict):
    """How it went."""

    seconds: float
    """From the first request to the last answer."""
    latencies_ms: list[float]


def main() -> None:
    """Send the load; print a `Load` as JSON."""
    port, requests, connections = (int(argument) for argument in sys.argv[1:])
    shares = [[_request() for _ in range(requests // connections)] for _ in range(connections)]
    start = threading.Barrier(connections + 1, timeout=PATIENCE_SECONDS)
    with ThreadPoolExecutor(connections) as pool:
        answered = [pool.submit(_send, port, share, start) for share in shares]
        start.wait()
        began = time.perf_counter()
        latencies_ms = [milliseconds for future in answered for milliseconds in future.result()]
        load: Load = {"seconds": time.perf_counter() - began, "latencies_ms": latencies_ms}
    json.dump(load, sys.stdout)


def _request() -> bytes:
    now, number = int(time.time()), uuid4().hex
    body = incoming(created_at=now, call_id=f"rtc_{number}", sip_headers=SIP_HEADERS)
    webhook_id = f"wh_{number}"
    changed = {
        "webhook-id": webhook_id,
        "webhook-signature": f"v1,{signature(body, timestamp=now, webhook_id=webhook_id)}",
    }
    headers = signed(body, timestamp=now) | changed
    return on_the_wire("POST", "/webhooks/openai", body, headers)


def _send(port: int, requests: list[bytes], start: threading.Barrier) -> list[float]:
    """Send requests one after the other; returns how long each took."""
    with _connected(port) as connection, connection.makefile("rb") as answers:
        start.wait()
        latencies_ms = []
        for request in requests:
            began = time.perf_counter()
            connection.sendall(request)
            status, length = answers.readline(), 0
            while line := answers.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)
            latencies_ms.append(1000 * (time.perf_counter() - began))
            assert b" 200 " in status, status
        return latencies_ms


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


if __name__ == "__main__":
    main()
