"""Judges a run by what OpenAI saw (the stand-in's log of who wrote what), the side effects, and the records.

Each violation names its call. What is judged, by the design's invariants:

- `two_writers` (I1): a frame came from an earlier owner after the first frame of a later one.
- `unanswered_tools` (I2): a tool call that its owner heard, in a call that lived on, was not answered exactly once.
- `double_side_effects` (I3): a tool that is not idempotent ran twice for one tool call.
- `double_greetings`: a caller was greeted more than once.
- `lost` (I4, I5): a call that was never taken, or whose record has not ended with a reason that fits.

A tool call that reached no owner, or one that died, froze or left at that moment, can't be known to the next owner,
since OpenAI replays nothing: it is `unheard`, and what is judged then is that the conversation went on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from emulator.openai import Entry
from supervisor.records import CallRecord, EndReason

HEARD_SECONDS = 1.5  # how long an owner must have been well after a tool call, to have heard it
ANSWER_SECONDS = 16.0  # how much longer than a lease a call must live, to expect an answer: recovery, and slow tools
COUNTERS = ("lost", "two_writers", "unanswered_tools", "double_side_effects", "double_greetings")


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that was done to one process; monotonic seconds."""

    kind: Literal["kill", "restart", "freeze", "stall", "isolate", "hiccup"]
    pid: int
    at: float
    until: float


@dataclass
class Judgement:
    """The counters, the gaps between owners, and what was wrong with which call."""

    calls: int = 0
    counters: Counter[str] = field(default_factory=Counter)
    unheard_tools: int = 0
    refused_outputs: int = 0
    """Outputs that were sent twice, and that OpenAI refused by their derived id."""
    crash_gaps_ms: list[float] = field(default_factory=list)
    handover_gaps_ms: list[float] = field(default_factory=list)
    double_fault_gaps_ms: list[float] = field(default_factory=list)
    """Where the notice went to a process that was struck before it could attach, and so was leased in vain."""
    violations: list[str] = field(default_factory=list)

    def blame(self, counter: str, call_id: str, what: str) -> None:
        """Note a violation."""
        self.counters[counter] += 1
        self.violations.append(f"{counter}: call {call_id}: {what}")

    @property
    def passed(self) -> bool:
        """Whether nothing was violated."""
        return not any(self.counters[name] for name in COUNTERS)

    def as_dict(self) -> dict[str, Any]:
        """The line for machines."""
        return {
            "calls": self.calls,
            **{name: self.counters[name] for name in COUNTERS},
            "unheard_tools": self.unheard_tools,
            "refused_outputs": self.refused_outputs,
            "owner_changes": {
                "crash": len(self.crash_gaps_ms),
                "handover": len(self.handover_gaps_ms),
                "double_fault": len(self.double_fault_gaps_ms),
            },
            "gap_ms_crash_p99": percentile(self.crash_gaps_ms, 0.99),
            "gap_ms_handover_p99": percentile(self.handover_gaps_ms, 0.99),
        }


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which this share of them lies; None of none."""
    if not values:
        return None
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 1)


def judge(
    logs: Mapping[str, Sequence[Entry]],
    effects: Iterable[str],
    records: Mapping[str, CallRecord | None],
    disturbances: Sequence[Disturbance],
    claims: Mapping[str, Mapping[int, int]],
    *,
    lease_seconds: float,
) -> Judgement:
    """Judge a run.

    Args:
        logs: OpenAI's log of each call, in order.
        effects: lines "once|again KEY PID TIME" of the chaos agent's tools.
        records: each call's record as it was at the end.
        disturbances: what was done to which process.
        claims: the delivery attempts of each call's claims, by the process id of the claimant.
        lease_seconds: how long a claim lives.
    """
    judgement = Judgement(calls=len(logs))
    for call_id, log in logs.items():
        case = _Case(call_id, log, disturbances, claims.get(call_id, {}), judgement)
        case.judge_writers()
        case.judge_greetings()
        case.judge_tools(lease_seconds + ANSWER_SECONDS)
        case.judge_record(records.get(call_id))
        case.measure_gaps()
    for key, count in Counter(line.split()[1] for line in effects if line.startswith("once ")).items():
        if count > 1:
            judgement.blame("double_side_effects", key.split(":")[0], f"{key} happened {count} times")
    return judgement


def pid_of(who: str) -> int:
    """The process id at the end of a supervisor's User-Agent; 0 for anybody else."""
    number = who.rstrip(")").rpartition("-")[2]
    return int(number) if number.isdigit() else 0


@dataclass
class _Case:
    call_id: str
    log: Sequence[Entry]
    disturbances: Sequence[Disturbance]
    claims: Mapping[int, int]
    judgement: Judgement

    def blame(self, counter: str, what: str) -> None:
        self.judgement.blame(counter, self.call_id, what)

    def of(self, *kinds: str, type_: str = "") -> list[Entry]:
        return [entry for entry in self.log if entry.kind in kinds and type_ in ("", entry.type)]

    def judge_writers(self) -> None:
        newest = 0
        for entry in self.of("frame_in"):
            attach = entry.attach or 0
            if attach < newest:
                self.blame("two_writers", f"{entry.type} from attach {attach}, {entry.who}, after attach {newest}")
            newest = max(newest, attach)

    def judge_greetings(self) -> None:
        asked = [
            e for e in self.of("frame_in", type_="response.create") if "instructions" in e.payload.get("response", {})
        ]
        if len(asked) > 1:
            self.blame("double_greetings", f"greeted {len(asked)} times")

    def judge_tools(self, alive_seconds: float) -> None:
        ended_at = next((e.monotonic_seconds for e in self.of("end")), self.log[-1].monotonic_seconds)
        answered = Counter(
            item["call_id"]
            for item in self._items("conversation.item.done")
            if item.get("type") == "function_call_output"
        )
        sent = Counter(
            e.payload["item"]["call_id"]
            for e in self.of("frame_in", type_="conversation.item.create")
            if e.payload["item"]["type"] == "function_call_output"
        )
        self.judgement.refused_outputs += sum(max(0, count - answered[id_]) for id_, count in sent.items())
        for tool_call_id, asked in self._tool_calls().items():
            if answered[tool_call_id] > 1:
                self.blame("unanswered_tools", f"{tool_call_id} was answered {answered[tool_call_id]} times")
            if answered[tool_call_id] or ended_at - asked[0].monotonic_seconds < alive_seconds:
                continue
            if any(self._heard(entry) for entry in asked):
                self.blame("unanswered_tools", f"{tool_call_id}, heard by {asked[0].who}, was never answered")
                continue
            self.judgement.unheard_tools += 1
            since = asked[0].monotonic_seconds
            if not any(e.monotonic_seconds > since for e in self.of("frame_in", type_="response.create")):
                went_on = [e for e in self.of("frame_out", type_="response.created") if e.monotonic_seconds > since]
                if not went_on:
                    self.blame("unanswered_tools", f"{tool_call_id}, unheard, was followed by silence")

    def _items(self, type_: str) -> list[Mapping[str, Any]]:
        """The items of such an event, each event once, however many sockets got it."""
        events = {e.payload["event_id"]: e.payload["item"] for e in self.of("frame_out", "frame_lost", type_=type_)}
        return list(events.values())

    def _tool_calls(self) -> dict[str, list[Entry]]:
        """The completed tool calls, each with its log entries: one for each socket that got it, or one when none did."""
        calls: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.of("frame_out", "frame_lost", type_="response.output_item.done"):
            item = entry.payload["item"]
            if item["type"] == "function_call" and item["status"] == "completed":
                calls[item["call_id"]].append(entry)
        return calls

    def _heard(self, entry: Entry) -> bool:
        """Whether a socket got it, and stayed with a process that was well, for long enough."""
        if entry.kind != "frame_out":
            return False
        at = entry.monotonic_seconds
        for detach in self.of("detach"):
            if detach.attach == entry.attach and detach.monotonic_seconds < at + HEARD_SECONDS:
                return False
        pid = pid_of(entry.who)
        return not any(d.pid == pid and d.at - HEARD_SECONDS < at < d.until + HEARD_SECONDS for d in self.disturbances)

    def judge_record(self, record: CallRecord | None) -> None:
        end = next(iter(self.of("end")), None)
        if end is None:
            self.blame("lost", "the call has not ended")
        elif end.type == "gave_up":
            self.blame("lost", "the caller gave up: nobody took the call")
        elif record is None or record.end_reason is None:
            self.blame("lost", f"ended by {end.type}, and its record has no end")
        elif record.end_reason not in (EndReason.CALLER_HUNG_UP, EndReason.MISSED):
            self.blame("lost", f"its record says {record.end_reason}, OpenAI says {end.type}")

    def measure_gaps(self) -> None:
        attaches = self.of("attach")
        for last, following in pairwise(attaches):
            if last.who == following.who:
                continue
            since = self._left_at(last, following)
            if since is None:
                continue
            at, gaps = since
            if self.claims.get(pid_of(following.who), 0) - self.claims.get(pid_of(last.who), 0) > 1:
                gaps = self.judgement.double_fault_gaps_ms
            gaps.append(max(0.0, following.monotonic_seconds - at) * 1000)

    def _left_at(self, last: Entry, following: Entry) -> tuple[float, list[float]] | None:
        """When the last owner was lost to the call, and which gaps that counts with."""
        pid, at = pid_of(last.who), following.monotonic_seconds
        crashes = [d.at for d in self.disturbances if d.pid == pid and d.kind in ("kill", "freeze") and d.at < at]
        detached = [d.monotonic_seconds for d in self.of("detach") if d.attach == last.attach]
        if crashes and not any(d < crashes[-1] for d in detached):
            return max(crashes[-1], last.monotonic_seconds), self.judgement.crash_gaps_ms
        if any(d.pid == pid and d.kind == "restart" for d in self.disturbances):
            return (detached[0] if detached else at), self.judgement.handover_gaps_ms
        if detached:
            return detached[0], self.judgement.crash_gaps_ms
        return None
