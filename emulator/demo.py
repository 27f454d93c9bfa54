"""Show the main job, live on one machine.

Three calls are served, then the supervisor that owns a fourth is killed.

Everything that is shown was seen from outside: OpenAI's side of the wire (the stand-in's log) and what function and
supervisors logged. `run` returns whether all of it happened. The agent needs the tools `order_status` and `hang_up`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from rich.console import Console
from rich.table import Table

from emulator.openai import Call, Entry
from emulator.system import System, local_system
from emulator.timeline import Timeline

LEASE_SECONDS = 10
TAKEOVER_SECONDS = LEASE_SECONDS + 2
CALL_SECONDS = 45.0
SPEED = 6.0  # of the conversations; 1 is real time

Script = list[dict[str, Any]]

ENDS = ["hangup", "caller_hung_up", "caller_hung_up"]
ORDER: Script = [
    {"caller": "Hello, is my bike ready? The order is B-1042."},
    {"tool": "order_status", "arguments": {"order_id": "B-1042"}},
    {"model": "It is in the workshop and will be ready on Thursday."},
    {"caller": "Thank you, goodbye."},
    {"model": "Goodbye!"},
    {"tool": "hang_up"},
]
TWO_ORDERS: Script = [
    {"caller": "I have two orders, B-1042 and B-1077."},
    {
        "tools": [
            {"tool": "order_status", "arguments": {"order_id": "B-1042"}},
            {"tool": "order_status", "arguments": {"order_id": "B-1077"}},
        ]
    },
    {"model": "One is in the workshop until Thursday, the other is ready to collect."},
    {"hang_up": True},
]
UNKNOWN_ORDER: Script = [
    {"caller": "What about order B-9?"},
    {"tool": "order_status", "arguments": {"order_id": "B-9"}},
    {"model": "I cannot find that order, sorry."},
    {"hang_up": True},
]
LONG_CALL: Script = [
    *ORDER[:3],
    {"pause_ms": (TAKEOVER_SECONDS + 1) * 1000},
    {"caller": "Are you still there? And B-1077?"},
    {"tool": "order_status", "arguments": {"order_id": "B-1077"}},
    {"model": "Of course. That one is ready to collect."},
    {"hang_up": True},
]


@dataclass(frozen=True)
class Check:
    """Say what had to happen, and whether it did."""

    statement: str
    holds: bool
    detail: str = ""


async def run(agent: str, *, pubsub: str = "embedded") -> bool:
    """Run the demo with an agent; returns whether everything happened that should."""
    console = Console()
    timeline = Timeline(console)
    environment = {"LEASE_SECONDS": str(LEASE_SECONDS), "MAX_CALLS": "50"}
    options = {"speed": SPEED}
    console.print(f"Starting Pub/Sub ({pubsub}), a stand-in for OpenAI, the function and two supervisors ...")
    async with local_system(
        agent=agent, pubsub=pubsub, options=options, environment=environment, on_log=timeline.on_log
    ) as system:
        await asyncio.gather(
            system.start_function(), system.start_supervisor("supervisor A"), system.start_supervisor("supervisor B")
        )
        for process in system.processes:
            timeline.name(process)
        follower = system.group.create_task(timeline.follow(system.stand_in.log), name="timeline")
        checks: list[Check] = []
        try:
            checks += await _serve_three(system)
            checks += await _kill_an_owner(system, timeline)
        except TimeoutError as error:
            checks.append(Check("everything within the time that it may take", holds=False, detail=str(error)))
        finally:
            follower.cancel()
    summarise(console, checks)
    return all(check.holds for check in checks)


async def _serve_three(system: System) -> list[Check]:
    calls = [await system.stand_in.place_call(script) for script in (ORDER, TWO_ORDERS, UNKNOWN_ORDER)]
    for call in calls:
        await call.ended(CALL_SECONDS)
    tools = sum(len(_outputs(call)) for call in calls)
    return [
        Check("three calls: webhook delivered, accepted once, attached", all(_taken_once(call) for call in calls)),
        Check("each greeted once", all(greetings(call) == 1 for call in calls)),
        Check("every tool call answered once", all(tools_answered(call) for call in calls), f"{tools} tool calls"),
        Check("the first hung up by the agent, the others by the caller", _ends(calls) == ENDS),
    ]


async def _kill_an_owner(system: System, timeline: Timeline) -> list[Check]:
    call = await system.stand_in.place_call(LONG_CALL)
    log = system.stand_in.log
    await log.wait_for(_of(call, "script", "Pause"), timeout_seconds=CALL_SECONDS)
    first = next(entry for entry in call.log if entry.kind == "attach")
    owner = next(p for p in system.processes if first.who.endswith(f"-{p.pid})"))
    timeline.line(call.call_id, "demo", f"kill -9 {owner.name}, which owns this call", "bold red")
    killed_at = time.monotonic()
    owner.send(signal.SIGKILL)
    second = await log.wait_for(_of(call, "attach", "attach"), after=first.sequence, timeout_seconds=CALL_SECONDS)
    gap_seconds = second.monotonic_seconds - killed_at
    await call.ended(CALL_SECONDS)
    late = [e for e in call.log if e.kind == "frame_in" and e.who == first.who and e.sequence > second.sequence]
    return [
        Check(f"taken over within {TAKEOVER_SECONDS} s", gap_seconds <= TAKEOVER_SECONDS, f"{gap_seconds:.1f} s"),
        Check("by another supervisor", second.who != first.who),
        Check("nothing written by the dead one afterwards", not late),
        Check("not accepted and not greeted again", _taken_once(call) and greetings(call) == 1),
        Check(
            "its tool calls before and after answered once", tools_answered(call), f"{len(_outputs(call))} tool calls"
        ),
    ]


def _of(call: Call, kind: str, type_: str) -> Callable[[Entry], bool]:
    return lambda entry: entry.call_id == call.call_id and entry.kind == kind and entry.type == type_


def _ends(calls: list[Call]) -> list[str | None]:
    return [call.end_reason for call in calls]


def _taken_once(call: Call) -> bool:
    accepts = [e.payload["status"] for e in call.log if e.kind == "rest" and e.type == "accept"]
    delivered = [e.payload["status"] for e in call.log if e.kind == "webhook"]
    return accepts.count(HTTPStatus.OK) == 1 and HTTPStatus.OK in delivered and call.attaches > 0


def greetings(call: Call) -> int:
    """Count how often the model was asked to greet the caller."""
    created = (e for e in call.log if e.kind == "frame_in" and e.type == "response.create")
    return sum("instructions" in e.payload.get("response", {}) for e in created)


def _outputs(call: Call) -> list[str]:
    items = (e.payload["item"] for e in call.log if e.kind == "frame_in" and e.type == "conversation.item.create")
    return [item["call_id"] for item in items if item["type"] == "function_call_output"]


def tools_answered(call: Call) -> bool:
    """Tell whether the model called tools, and each call of one was answered once."""
    return sorted(_outputs(call)) == sorted(_tool_calls(call)) and bool(_tool_calls(call))


def _tool_calls(call: Call) -> set[str]:
    called = (e.payload for e in call.log if e.type == "response.function_call_arguments.done")
    return {payload["call_id"] for payload in called if payload["name"] != "hang_up"}


def summarise(console: Console, checks: list[Check]) -> None:
    """Print which checks hold."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for check in checks:
        table.add_row("[green]yes[/]" if check.holds else "[bold red]NO[/]", check.statement, f"[dim]{check.detail}[/]")
    console.print()
    console.print(table)
    passed = all(check.holds for check in checks)
    console.print("[bold green]All of it happened.[/]" if passed else "[bold red]Something did not happen.[/]")
