"""Callers who come, talk for a while and hang up, and whether each was served as they should be."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

from emulator.demo import greetings, tools_answered
from emulator.openai import Call
from emulator.system import LogLine, Process, System
from supervisor.outcomes import EndReason
from supervisor.records.record import CallRecord
from supervisor.records.store import Store

Script = list[dict[str, Any]]

LIVES_SECONDS = (20.0, 60.0)
CALL_SECONDS = 180.0  # what a call may take before it counts as one that never ends
SETTLE_SECONDS = 15.0  # from a call's end to that of its record
POLL_SECONDS = 0.25
KEPT_LINES = 500  # of what each process logs
FAULTS_KEPT = 20
_SECONDS_PER_CHARACTER = 0.06  # as the stand-in's people speak
_SECONDS_PER_STEP = 0.4  # for thinking, and for noticing that a turn is over

LOOK: Script = [
    {"caller": "Is my bike ready? The order is B-1042."},
    {"tool": "order_status", "arguments": {"order_id": "B-1042"}},
    {"model": "It is in the workshop and will be ready on Thursday."},
]
LOOK_TWICE: Script = [
    {"caller": "I have two orders, B-1042 and B-9."},
    {
        "tools": [
            {"tool": "order_status", "arguments": {"order_id": "B-1042"}},
            {"tool": "order_status", "arguments": {"order_id": "B-9"}},
        ]
    },
    {"model": "One is in the workshop until Thursday, and the other I cannot find."},
]
CHAT: Script = [
    {"caller": "Do you also repair the bikes of others?"},
    {"model": "We do. Most repairs take two days, and a puncture is done while you wait."},
]
INTERRUPT: Script = [
    {"caller": "When are you open?"},
    {"model": "From Monday to Friday we are open from nine to six, and on Saturday, in summer, from ten to four."},
    {"barge_in": "Saturday is fine, thanks."},
    {"model": "Then we see you on Saturday."},
]
MUMBLE: Script = [
    {"caller": "Hm, well, let me see.", "transcription": "failed"},
    {"model": "Take your time, I am here."},
]
GOODBYE: Script = [{"caller": "Thank you, goodbye."}, {"model": "Goodbye!"}, {"tool": "hang_up"}]


def script(random: Random) -> Script:
    """Make up what is said in one call.

    It begins with a tool, lasts about as long as it should, and either side ends it.
    """
    seconds = random.uniform(*LIVES_SECONDS)
    steps: Script = [*LOOK]
    while _seconds(steps) < seconds:
        steps += [{"pause_ms": random.uniform(200, 3000)}]
        steps += random.choices([LOOK, LOOK_TWICE, CHAT, INTERRUPT, MUMBLE], weights=[3, 1, 4, 1, 1])[0]
    return steps + (GOODBYE if random.random() < 0.25 else [{"hang_up": True}])


def _seconds(steps: Script) -> float:
    characters = sum(len(step.get(who, "")) for step in steps for who in ("caller", "model", "barge_in"))
    paused_ms: float = sum(step.get("pause_ms", 0) for step in steps)
    return paused_ms / 1000 + characters * _SECONDS_PER_CHARACTER + len(steps) * _SECONDS_PER_STEP


@dataclass
class LogSummary:
    """What matters in the logs of all processes; the rest is forgotten, however long they run."""

    ends: Counter[str] = field(default_factory=Counter)
    """How often each call has ended, by the log."""
    errors: list[str] = field(default_factory=list)

    def add(self, process: Process, line: LogLine) -> None:
        """Add a line."""
        if line.get("message") == "ended":
            self.ends[line["call_id"]] += 1
        if line.get("severity") in {"ERROR", "CRITICAL"} and len(self.errors) < FAULTS_KEPT:
            self.errors.append(f"{process.name}: {line.get('message')} {line.get('call_id', '')}".strip())
        del process.lines[:-KEPT_LINES]


@dataclass
class Callers:
    """A crowd of callers, each followed by another as soon as they hang up."""

    system: System
    store: Store
    random: Random
    lives_seconds: list[float] = field(default_factory=list)
    """How long each call lasted that has ended."""
    rang_seconds: list[float] = field(default_factory=list)
    """How long each call rang until a supervisor was attached."""
    faults: Counter[str] = field(default_factory=Counter)
    first_faults: list[str] = field(default_factory=list)
    """The first of them, each with its call."""

    async def churn(self, calls: int, *, until: float, ramp_seconds: float) -> None:
        """Keep so many calls alive for a while; returns when the last has ended.

        Args:
            calls: how many.
            until: when callers are no longer followed by others; monotonic seconds.
            ramp_seconds: how long the first callers take to come.
        """
        async with asyncio.TaskGroup() as group:
            for number in range(calls):
                group.create_task(self._one_after_the_other(number * ramp_seconds / calls, until), name="callers")

    async def _one_after_the_other(self, delay_seconds: float, until: float) -> None:
        await asyncio.sleep(delay_seconds)
        while time.monotonic() < until:
            await self.call(script(self.random))

    async def call(self, steps: Script) -> None:
        """Place a call, wait for the end of its record, and judge it.

        The stand-in forgets it then.
        """
        call = await self.system.stand_in.place_call(steps)
        began = time.monotonic()
        try:
            await call.ended(CALL_SECONDS)
        except TimeoutError:
            call.hang_up()
            self._blame("never_ended", call)
        self.lives_seconds.append(time.monotonic() - began)
        self._judge(call, await self._ended_record(call.call_id), steps)
        del self.system.stand_in.calls[call.call_id]

    async def _ended_record(self, call_id: str) -> CallRecord | None:
        give_up_at = time.monotonic() + SETTLE_SECONDS
        while True:
            record = await self.store.read(call_id)
            if (record and record.end_reason) or time.monotonic() > give_up_at:
                return record
            await asyncio.sleep(POLL_SECONDS)  # another process writes the record

    def _judge(self, call: Call, record: CallRecord | None, steps: Script) -> None:
        attached = (entry for entry in call.log if entry.kind == "attach")
        self.rang_seconds += [entry.unix_seconds - call.placed_at for entry in islice(attached, 1)]
        if greetings(call) != 1:
            self._blame("not_greeted_once", call)
        if not tools_answered(call):
            self._blame("tools_not_answered_once", call)
        by_caller = "hang_up" in steps[-1]
        reason = EndReason.CALLER_HUNG_UP if by_caller else EndReason.AGENT_HUNG_UP
        if record is None or record.end_reason is not reason:
            self._blame("wrong_end", call, f"expected {reason}, the record says {record and record.end_reason}")

    def _blame(self, fault: str, call: Call, detail: str = "") -> None:
        self.faults[fault] += 1
        if len(self.first_faults) < FAULTS_KEPT:
            self.first_faults.append(f"{fault}: {call.call_id} ({call.end_reason}) {detail}".rstrip())
