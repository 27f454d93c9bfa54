"""The agent that is measured: a tool that does nothing, and a handler that notes how old events are on arrival.

BENCH_AGES=PATH     where the ages are written, in milliseconds, one a line
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from sideband import Agent, Call
from supervisor.conversation.actions import Event

STAMP = "bench.stamp"
_AT_ONCE = 100

agent = Agent(session={"model": "gpt-realtime-2.1", "instructions": "You answer the phone."})
_ages_ms: list[float] = []
_stamped: set[str] = set()


@agent.tool(idempotent=True)
async def order_status(call: Call, order_id: str) -> dict[str, str]:  # noqa: ARG001 - the model says it
    """Look up the status of an order.

    Args:
        order_id: The number on the receipt.
    """
    if call.call_id not in _stamped:
        _stamped.add(call.call_id)
        call.on(STAMP, _age)
    return {"status": "ready"}


def _age(event: Event) -> None:
    _ages_ms.append((time.monotonic_ns() - int(event["at_ns"])) / 1e6)
    if len(_ages_ms) >= _AT_ONCE:
        with Path(os.environ["BENCH_AGES"]).open("a") as file:
            file.writelines(f"{age:.3f}\n" for age in _ages_ms)
        _ages_ms.clear()
