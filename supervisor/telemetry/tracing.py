"""A call's trace, one across all its owners.

It begins with the webhook, whose `traceparent` comes with the notice; where no trace was begun, its id is made from the
call's id, so that all owners tell one story. Spans name what was done and never what was said.
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
from supervisor.telemetry.metrics import heard_at

P = ParamSpec("P")
T = TypeVar("T")

_tracer = trace.get_tracer("sideband")
_propagator = TraceContextTextMapPropagator()


def begin_call(notice: CallNotice) -> None:
    """Have all that this task logs, counts and traces from here on belong to this call."""
    traceparent = notice.traceparent or _made_traceparent(notice.call_id)
    bind_contextvars(call_id=notice.call_id, trace_id=traceparent.split("-")[1])
    rang = notice.created_at or notice.received_at
    heard_at.set(rang)
    if not _somebody_traces():
        return
    context.attach(_propagator.extract({"traceparent": traceparent}))  # the task ends with the call: nothing to detach
    if rang is not None:
        _tracer.start_span("wait for a supervisor", start_time=int(rang * 1e9)).end()


def _somebody_traces() -> bool:
    return not isinstance(trace.get_tracer_provider(), ProxyTracerProvider)


def _made_traceparent(call_id: str) -> str:
    digest = hashlib.sha256(call_id.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def traced(name: str) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Make a span of an async function; an exception is told by its type alone, since its message may be personal."""

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> T:
            if not _somebody_traces():
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
    """Name the span that is open after what it turned out to be."""
    trace.get_current_span().update_name(name)
