"""What can be seen of a running system: its health, its metrics, its traces, and a call in its log."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from emulator.system import Process, local_system
from tests.support.pubsub_servers import LONG_LEASE_SECONDS

CALL_SECONDS = 60
ORDER: list[dict[str, Any]] = [
    {"caller": "Is my bike ready? The order is B-1042. My number is 020 123 4567."},
    {"tool": "order_status", "arguments": {"order_id": "B-1042"}},
    {"caller": "Thank you, goodbye."},
    {"tool": "hang_up"},
]
STAY: dict[str, Any] = {"pause_ms": 30_000}


@dataclass
class Collector:
    """A collector of OTLP over HTTP, and what it got."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    metrics: set[str] = field(default_factory=set)
    got: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        """Take an export."""
        body = await request.read()
        if request.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        else:
            for told in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics |= {metric.name for scope in told.scope_metrics for metric in scope.metrics}
        self.got.set()
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Serve one."""
    collecting = Collector()
    app = web.Application()
    app.router.add_post("/v1/{signal}", collecting.take)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        collecting.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield collecting
    finally:
        await runner.cleanup()


async def ask(process: Process, path: str) -> tuple[int, str]:
    """Ask a supervisor's health port."""
    port = (await process.logged("health_served"))["port"]
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def samples(process: Process) -> dict[str, float]:
    """The supervisor's own metrics, as Prometheus reads them, by name and labels."""
    _, text = await ask(process, "/metrics")
    return {
        " ".join([sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("sideband_") and not sample.name.endswith(("_bucket", "_created"))
    }


async def test_a_call_is_seen_to_its_end() -> None:
    """A call is seen from its webhook to its end.

    One trace, metrics by both ways, the call's id and trace in each of its lines, and nothing personal.
    """
    async with collector() as otlp:
        environment = {
            "HEALTH_ADDRESS": "127.0.0.1:0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
        }
        async with local_system(agent="examples.bikes:agent", environment=environment) as system:
            await system.start_function()
            supervisor = await system.start_supervisor()
            began = int(time.time())  # as OpenAI's `created_at`, from which ages are counted
            call = await system.stand_in.place_call(ORDER)
            assert await call.ended(CALL_SECONDS) == "hangup"
            await supervisor.logged("ended")
            elapsed_seconds = time.time() - began
            seen = await samples(supervisor)
            assert (await ask(supervisor, "/livez"))[0] == 200
            status, state = await ask(supervisor, "/readyz")
            assert (status, json.loads(state)["ready"]) == (200, True)
            assert (await ask(supervisor, "/"))[0] == 404

    assert seen["sideband_calls_ended_total reason=agent_hung_up"] == 1
    assert seen["sideband_claims_total taken_over=false"] == 1
    assert seen["sideband_tool_seconds_count tool=order_status"] == 1
    assert seen["sideband_calls_max"] == 200
    stages = ("claimed", "accepted", "attached", "greeted")
    assert [seen[f"sideband_stage_seconds_count stage={stage}"] for stage in stages] == [1] * 4
    ages = [seen[f"sideband_stage_seconds_sum stage={stage}"] for stage in stages]
    in_order = [0.0, *ages, seen["sideband_call_seconds_sum"], elapsed_seconds]
    assert in_order == sorted(in_order), "each stage comes after the one before, and the last before the end"
    assert otlp.metrics >= {name.split()[0].removesuffix("_count").removesuffix("_sum") for name in seen}

    lines = [line for line in supervisor.lines if line.get("call_id") == call.call_id]
    (trace,) = {line["logging.googleapis.com/trace"] for line in lines}
    assert {line["message"] for line in lines} >= {
        "claimed",
        "accepted",
        "attached",
        "greeted",
        "tool_finished",
        "ended",
    }
    assert not any(word in json.dumps(supervisor.lines) for word in ("1234567", "123 4567", "B-1042", "sip:"))

    names = [span.name for span in otlp.spans]
    assert {span.trace_id.hex() for span in otlp.spans} == {trace.rpartition("/")[2]}
    assert set(names) >= {"wait for a supervisor", "take the call", "accept", "attach", "hold the call", "settle"}
    parents = {span.span_id: span.name for span in otlp.spans}
    (tool,) = [span for span in otlp.spans if span.name == "tool order_status"]
    assert parents[tool.parent_span_id] == "hold the call"


async def test_a_hand_over_is_seen() -> None:
    """A hand-over is seen on both sides.

    The one that stops is no longer ready and counts a hand-over; the other, how long nobody was attached.
    """
    async with local_system(
        agent="examples.bikes:agent",
        environment={"HEALTH_ADDRESS": "127.0.0.1:0", "LEASE_SECONDS": str(LONG_LEASE_SECONDS)},
    ) as system:
        await system.start_function()
        first = await system.start_supervisor("A")
        await system.stand_in.place_call([{"caller": "Hello?"}, STAY])
        await first.logged("greeted")
        second = await system.start_supervisor("B")
        holding, idle = await samples(first), await samples(second)
        assert (holding["sideband_calls"], holding["sideband_leases"]) == (1, 1)
        assert (idle["sideband_calls"], idle["sideband_leases"]) == (0, 0)
        assert holding["sideband_tasks"] > idle["sideband_tasks"] > 0
        began = time.time()
        await first.stop()
        assert await second.logged("attached")
        assert (await first.logged("handed_over"))["severity"] == "INFO"
        elapsed_seconds = time.time() - began
        seen = await samples(second)
        assert seen["sideband_claims_total taken_over=true"] == 1
        assert seen["sideband_orphan_seconds_count cause=handover"] == 1
        assert 0 <= seen["sideband_orphan_seconds_sum cause=handover"] <= elapsed_seconds
        assert not any(name.startswith("sideband_stage_seconds") for name in seen)


async def test_without_pubsub_it_is_not_ready() -> None:
    """A supervisor that may not claim calls is alive and not ready.

    A revision without Pub/Sub never becomes ready, so that Cloud Run keeps the one before.
    """
    async with local_system(agent="examples.bikes:agent", environment={"HEALTH_ADDRESS": "127.0.0.1:0"}) as system:
        process = await system.start_supervisor(CALLS_SUBSCRIPTION="not-there")
        await process.logged("pull_failed")
        assert (await ask(process, "/livez"))[0] == 200
        status, state = await ask(process, "/readyz")
        assert (status, json.loads(state)) == (503, {"calls": 0, "max_calls": 200, "leases": 0, "ready": False})


async def test_a_taken_health_port_is_named() -> None:
    """A health port that is taken is said in one line."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with local_system(agent="examples.bikes:agent") as system:
            with pytest.raises(RuntimeError, match=f"supervisor: HEALTH_ADDRESS={address}: .* choose another"):
                await system.start_supervisor(HEALTH_ADDRESS=address)
