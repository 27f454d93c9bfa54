"""Trace a call: one trace across all its owners.

It begins at the webhook, whose `traceparent` comes with the notice. Where that has none, the trace's id is made from
the call's id, so that all owners have the same. Spans name what was done, and never what was said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from opentelemetry import context, trace
from opentelemetry.trace import ProxyTracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bind_contextvars

from function.notice import CallNotice
from supervisor.telemetry.metrics import rang_at

P = ParamSpec("P")
T = TypeVar("T")

_tracer = trace.get_tracer("sideband")
_propagator = TraceContextTextMapPropagator()


def begin_call(notice: CallNotice) -> None:
    """Name the call in what this task logs, counts and traces."""
    traceparent = notice.traceparent or _traceparent_of(notice.call_id)
    bind_contextvars(call_id=notice.call_id, trace_id=traceparent.split("-")[1])
    rang = notice.created_at or notice.received_at
    rang_at.set(rang)
    if _tracing_is_on():
        context.attach(_propagator.extract({"traceparent": traceparent}))  # never detached: the task ends with the call
        if rang is not None:
            _tracer.start_span("wait for a supervisor", start_time=int(rang * 1e9)).end()


def _tracing_is_on() -> bool:
    """Tell whether a tracer provider was set.

    A span that nobody reads would still take time.
    """
    return not isinstance(trace.get_tracer_provider(), ProxyTracerProvider)


def _traceparent_of(call_id: str) -> str:
    """Make the same traceparent for every owner of a call."""
    digest = hashlib.sha256(call_id.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def traced(name: str) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Make a span of each run of an async function.

    Of an exception the span has the type, and not the message, which may be personal.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> T:
            if not _tracing_is_on():
                return await function(*args, **kwargs)
            with _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
                try:
                    return await function(*args, **kwargs)
                except BaseException as error:
                    span.set_attribute("ended_by", type(error).__name__)
                    raise

        return run

    return decorate


def rename_span(name: str) -> None:
    """Rename the span that is open, now that more is known of it."""
    trace.get_current_span().update_name(name)
