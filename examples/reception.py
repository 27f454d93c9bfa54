"""A reception: connects callers by day, takes messages at night.

The router chooses by the time of day. Callers may press a key instead of saying whom they want. When a transfer fails,
the caller can leave a message instead.
"""

from __future__ import annotations

from datetime import datetime, time
from typing import Literal
from zoneinfo import ZoneInfo

from sideband import Agent, Call, Incoming, Router, TransferFailed

OPEN, CLOSED = time(9), time(17)
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
SATURDAY = 5

Department = Literal["sales", "service"]
DEPARTMENTS: dict[Department, str] = {"sales": "tel:+31201110001", "service": "tel:+31201110002"}
KEYS: dict[str, Department] = {"1": "sales", "2": "service"}

day = Agent(
    session={"model": "gpt-realtime-2.1", "instructions": "You are the receptionist. Connect callers; do not chat."},
    greeting="Greet the caller. Say that they can ask for sales or service, or press 1 or 2.",
    greeting_uninterruptible=True,
)
night = Agent(
    session={"model": "gpt-realtime-2.1", "instructions": "The office is closed. Take a message, then hang up."},
    greeting="Say that the office is closed, and offer to take a message.",
)


async def connect(call: Call, department: Department) -> str:
    """Transfer the caller; return what to tell the model."""
    try:
        await call.transfer(DEPARTMENTS[department])
    except TransferFailed:
        call.state["could_not_reach"] = department
        return f"Nobody could be reached in {department}. Apologise, and offer to take a message."
    return "The caller has been connected."


@day.tool(timeout=30, max_calls=3, filler="I am putting you through.")
async def transfer_to(call: Call, department: Department) -> str:
    """Put the caller through to a department."""
    return await connect(call, department)


@day.tool(timeout=20)
async def wait_for_key(call: Call) -> str:
    """Wait for the caller to press 1 or 2, and put them through."""
    key = await call.digits(max=1, timeout=8)
    return await connect(call, KEYS[key]) if key in KEYS else "No key was pressed. Ask whom they want to speak to."


@day.tool()
@night.tool()
async def take_message(call: Call, message: str, name: str) -> str:
    """Write down a message for the office.

    Args:
        message: What the caller wants the office to know, in their own words.
        name: Who is calling.
    """
    call.state.setdefault("messages", []).append({"from": call.caller, "name": name, "message": message})
    return "Noted."


@night.tool()
async def hang_up(call: Call) -> None:
    """End the call, after the goodbye."""
    await call.hang_up()


def is_open(now: datetime) -> bool:
    """Tell whether the office is open at this time."""
    return now.weekday() < SATURDAY and OPEN <= now.timetz().replace(tzinfo=None) < CLOSED


router = Router({"day": day, "night": night})


@router.choose
def by_time(_incoming: Incoming) -> str:
    """Choose the day's agent while the office is open."""
    return "day" if is_open(datetime.now(AMSTERDAM)) else "night"
