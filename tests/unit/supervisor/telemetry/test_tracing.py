"""One trace for a call, whoever owns it; spans say what was done, and never what was said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest
from structlog.contextvars import clear_contextvars, get_contextvars

from function.notice import CallNotice
from supervisor.telemetry.metrics import rang_at
from supervisor.telemetry.tracing import begin_call, traced

TRACE = "a" * 32
TRACEPARENT = f"00-{TRACE}-{'b' * 16}-01"

PROGRAM = """
import asyncio, json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from function.notice import CallNotice
from supervisor.telemetry.tracing import begin_call, rename_span, traced

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

@traced("tool")
async def pay():
    rename_span("tool pay")
    raise RuntimeError("An Other has no money")

async def owner():
    begin_call(CallNotice(call_id="rtc_1", traceparent={traceparent!r}, created_at=1000))
    try:
        await pay()
    except RuntimeError:
        pass

async def main():
    for _ in range(2):
        await asyncio.create_task(owner())

asyncio.run(main())
print(json.dumps([json.loads(span.to_json()) for span in exporter.get_finished_spans()]))
"""


def spans(traceparent: str | None) -> list[dict[str, Any]]:
    """Give the spans of two owners of a call, in a process of its own, since a provider is set once in a process."""
    code = PROGRAM.format(traceparent=traceparent)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    clear_contextvars()
    yield
    clear_contextvars()


def bound_by(notice: CallNotice) -> dict[str, Any]:
    """Give what a call's task names in its log lines, and when it says that the call rang."""

    def begin() -> dict[str, Any]:
        begin_call(notice)
        return {**get_contextvars(), "rang_at": rang_at.get()}

    return copy_context().run(begin)


@pytest.mark.parametrize(
    ("created_at", "received_at", "rang"),
    [(1000, 1000.5, 1000), (None, 1000.5, 1000.5), (None, None, None)],
    ids=["webhook", "browser", "unknown"],
)
def test_begin_call(created_at: int | None, received_at: float | None, rang: float | None) -> None:
    """A task names its call and its trace, and knows since when it rings."""
    notice = CallNotice(call_id="rtc_1", traceparent=TRACEPARENT, created_at=created_at, received_at=received_at)
    assert bound_by(notice) == {"call_id": "rtc_1", "trace_id": TRACE, "rang_at": rang}


def test_a_trace_of_the_calls_own() -> None:
    """Without a traceparent, all owners of a call make up the same trace, and other calls another one."""
    first, again, other = (bound_by(CallNotice(call_id=call_id))["trace_id"] for call_id in ("a", "a", "b"))
    assert first == again != other
    assert len(first) == len(TRACE)


@pytest.mark.parametrize("traceparent", [TRACEPARENT, None], ids=["given", "made up"])
def test_spans(traceparent: str | None) -> None:
    """Spans of all owners are in one trace; one of a failure names its type, and not what it says."""
    found = spans(traceparent)
    assert [span["name"] for span in found] == ["wait for a supervisor", "tool pay"] * 2
    assert len({span["context"]["trace_id"] for span in found}) == 1
    if traceparent:
        assert found[0]["context"]["trace_id"] == f"0x{TRACE}"
    assert found[1]["attributes"] == {"ended_by": "RuntimeError"}
    assert "An Other" not in json.dumps(found)
    assert found[0]["start_time"] == "1970-01-01T00:16:40.000000Z"


async def test_nobody_traces() -> None:
    """Without a tracer provider a traced function runs as it is."""

    @traced("tool")
    async def double(number: int, *, times: int) -> int:
        return number * times

    assert await double(3, times=2) == 6
    assert double.__name__ == "double"
