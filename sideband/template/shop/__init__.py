"""The telephone of Delft Bikes: looks up orders, and hangs up after the goodbye."""

from __future__ import annotations

from typing import TypedDict

from sideband import Agent, Call

agent = Agent(
    session={
        "model": "gpt-realtime-2.1",
        "instructions": "You answer the phone for Delft Bikes. Be brief. After the goodbye, hang up.",
        "audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}}},
    },
    greeting="Greet the caller on behalf of Delft Bikes and ask how you can help.",
)


class OrderStatus(TypedDict):
    """What is known of an order."""

    order_id: str
    status: str
    ready_on: str | None


ORDERS: dict[str, OrderStatus] = {
    "B-1042": {"order_id": "B-1042", "status": "in the workshop", "ready_on": "Thursday"},
    "B-1077": {"order_id": "B-1077", "status": "ready to collect", "ready_on": None},
}


@agent.tool(idempotent=True, timeout=8, filler="One moment, I am looking that up.")
async def order_status(order_id: str) -> OrderStatus | str:
    """Look up the status of an order.

    Args:
        order_id: The number on the receipt, such as B-1042.
    """
    return ORDERS.get(order_id.upper(), f"There is no order {order_id}.")


@agent.tool()
async def hang_up(call: Call) -> str:
    """End the call, after the goodbye."""
    await call.hang_up()
    return "The call has ended."
