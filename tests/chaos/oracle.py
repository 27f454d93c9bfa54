"""Judges a run by what OpenAI saw, the side effects and the records; every violation names its call and its moment.

| counter | invariant | what is counted |
|---|---|---|
| `lost` | I4, I5 | a call that nobody took, that was alone for more than a lease + 2 s, or that ended wrongly |
| `slow_takeovers` | I4 | an owner that came more than a lease + 2 s after a crash, or 1 s after a hand-over |
| `two_writers` | I1 | a frame of an owner that came after the first frame of a later one |
| `unanswered_tools` | I2 | a tool call that an owner heard and had time for, and that was not answered exactly once |
| `double_side_effects` | I3 | a tool that is not idempotent did its work twice for one tool call |
| `double_greetings` | | a caller was greeted more than once |
| `lost_side_effects` | I2 | the model was told that something is done, and it never was |
| `lost_state` | I5 | the agent's state lacks a tool call that was answered as done |
| `lost_words` | I5 | the transcript lacks what an owner heard |
| `crashes` | I6 | a process that ended by itself, or too late, or that failed a call by a bug |

The invariants are those of docs/architecture.md. OpenAI replays nothing, so a tool call that reached no owner, or one
that was struck at that moment, is unknown to the next. Such a call is `unheard`; what is asked for then is that the
model is brought to go on. A second in which the machine was too busy to run the run's own timers counts for nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from emulator.openai import Entry
from supervisor.outcomes import EndReason
from supervisor.records.record import CallRecord
from tests.chaos.evidence import Evidence, Span, Stop
from tests.chaos.ownership import Change, Gap, end_of, gaps_of, holds_of, orphaned_spans, quiet_spans, took_effect

HEARD_SECONDS = 1.5  # how long an owner must stay undisturbed after an event to have heard and written it
ANSWER_SECONDS = 11.0  # what one undisturbed owner has for what is open: tools take 4 s, silence is broken after 4 s
CRASH_SECONDS = 2.0  # beyond the lease that a call may be alone
HANDOVER_SECONDS = 1.0  # that a call may be alone where its owner was told to stop
STOP_SECONDS = 10.0  # from SIGTERM until Cloud Run kills
DONE = ("paid", "seen")  # what the chaos agent's tools say
COUNTERS = (
    "lost",
    "slow_takeovers",
    "two_writers",
    "unanswered_tools",
    "double_side_effects",
    "double_greetings",
    "lost_side_effects",
    "lost_state",
    "lost_words",
    "crashes",
)


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not happen."""

    counter: str
    call_id: str | None
    what: str
    at: float | None = None
    """Where in the call's log to look; monotonic seconds."""


@dataclass
class Judgement:
    """What is wrong with a run, and how long calls were without an owner."""

    calls: int
    violations: list[Violation] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    tool_calls: int = 0
    unheard_tools: int = 0
    refused_outputs: int = 0
    """Outputs that were sent twice, and refused by OpenAI since their id is derived."""

    @property
    def counters(self) -> dict[str, int]:
        """How often each invariant was broken."""
        found = Counter(violation.counter for violation in self.violations)
        return {name: found[name] for name in COUNTERS}

    @property
    def passed(self) -> bool:
        """Whether none was."""
        return not self.violations


def judge(evidence: Evidence) -> Judgement:
    """Find what is wrong with a run."""
    judgement = Judgement(len(evidence.logs))
    for call_id in evidence.logs:
        _Case(call_id, evidence, judgement).judge()
    for stop in evidence.stops:
        _judge_stop(stop, evidence, judgement)
    return judgement


def _judge_stop(stop: Stop, evidence: Evidence, judgement: Judgement) -> None:
    if not stop.planned:
        messages = [str(line.get("message")) for line in evidence.log_lines.get(stop.pid, ())]
        cause = next((message for message in reversed(messages) if "Error: " in message), "it did not say why")
        what = f"supervisor {stop.pid} ended by itself with status {stop.status}: {cause.strip(' |')}"
    elif stop.stopping and (evidence.seconds(*stop.stopping) > STOP_SECONDS or stop.status):
        what = f"supervisor {stop.pid} took {evidence.seconds(*stop.stopping):.1f} s to stop, with status {stop.status}"
    else:
        return
    judgement.violations.append(Violation("crashes", None, what))


@dataclass
class _Case:
    """One call before the oracle."""

    call_id: str
    evidence: Evidence
    judgement: Judgement

    def judge(self) -> None:
        """Find what is wrong with the call."""
        record = self.evidence.records.get(self.call_id)
        self._judge_writers()
        self._judge_greetings()
        self._judge_ownership()
        self._judge_effects()
        self._judge_end(record)
        self._judge_logs()
        if record:
            self._judge_record(record)
        for tool_call_id, entries in self._tool_calls.items():
            self._judge_tool(tool_call_id, entries)

    def _blame(self, counter: str, what: str, at: float | None = None) -> None:
        self.judgement.violations.append(Violation(counter, self.call_id, what, at))

    # What is known of the call.

    @cached_property
    def _log(self) -> list[Entry]:
        return list(self.evidence.logs[self.call_id])

    def _of(self, *kinds: str, type_: str = "") -> list[Entry]:
        return [entry for entry in self._log if entry.kind in kinds and type_ in ("", entry.type)]

    @cached_property
    def _tool_calls(self) -> dict[str, list[Entry]]:
        """The completed tool calls, each with an entry for each socket that got it, or one if none did."""
        calls: dict[str, list[Entry]] = defaultdict(list)
        for entry in self._of("frame_out", "frame_lost", type_="response.output_item.done"):
            item = entry.payload["item"]
            if item["type"] == "function_call" and item["status"] == "completed":
                calls[item["call_id"]].append(entry)
        return calls

    @cached_property
    def _answers(self) -> dict[str, list[Mapping[str, Any]]]:
        """The outputs that OpenAI took, by tool call id, once however many sockets got them."""
        events = {
            e.payload["event_id"]: e.payload["item"]
            for e in self._of("frame_out", "frame_lost", type_="conversation.item.done")
        }
        answers: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for item in events.values():
            if item["type"] == "function_call_output":
                answers[item["call_id"]].append(item)
        return answers

    @cached_property
    def _quiet_spans(self) -> list[Span]:
        """When one owner had the call, and nothing was done to it."""
        return [span for hold in holds_of(self._log) for span in quiet_spans(hold, self.evidence.disturbances)]

    def _heard(self, entry: Entry) -> bool:
        """Return whether an owner got this event, and had time to act on it."""
        at = entry.monotonic_seconds
        return entry.kind == "frame_out" and any(
            since <= at and self.evidence.seconds(at, until) >= HEARD_SECONDS
            for hold in holds_of(self._log)
            if hold.attach == entry.attach
            for since, until in quiet_spans(hold, self.evidence.disturbances)
        )

    def _had_time_after(self, at: float) -> bool:
        """Return whether an owner had the call undisturbed for long enough since."""
        return any(self.evidence.seconds(max(since, at), until) >= ANSWER_SECONDS for since, until in self._quiet_spans)

    # What is asked of it.

    def _judge_writers(self) -> None:
        newest = 0
        for entry in self._of("frame_in"):
            attach = entry.attach or 0
            if attach < newest:
                what = f"{entry.type} by attach {attach} of {entry.who}, after attach {newest} had written"
                self._blame("two_writers", what, entry.monotonic_seconds)
            newest = max(newest, attach)

    def _judge_greetings(self) -> None:
        asked = [
            e for e in self._of("frame_in", type_="response.create") if "instructions" in e.payload.get("response", {})
        ]
        if len(asked) > 1:
            self._blame("double_greetings", f"greeted {len(asked)} times", asked[1].monotonic_seconds)

    def _judge_ownership(self) -> None:
        attempts: dict[int, int] = {}
        handed_over_at: dict[int, float] = {}
        for pid, lines in self.evidence.log_lines.items():
            for line in lines:
                if line.get("message") == "claimed" and line.get("call_id") == self.call_id:
                    attempts[pid] = line["delivery_attempt"]
                    handed_over_at[pid] = line.get("handed_over_at") or 0.0
        gaps = list(gaps_of(self._log, self.evidence.disturbances, attempts, handed_over_at))
        self.judgement.gaps += gaps
        most: dict[Change, float] = {"crash": self._most_alone_seconds, "handover": HANDOVER_SECONDS}
        for gap in gaps:
            if gap.change in most and (seconds := self.evidence.seconds(gap.since, gap.until)) > most[gap.change]:
                self._blame("slow_takeovers", f"{gap.change}: its next owner came after {seconds:.2f} s", gap.until)
        spans = orphaned_spans(self._log, self.evidence.disturbances)
        alone_seconds = max((self.evidence.seconds(*span) for span in spans), default=0.0)
        if alone_seconds > self._most_alone_seconds:
            self._blame("lost", f"alive and without an owner for {alone_seconds:.1f} s")

    @property
    def _most_alone_seconds(self) -> float:
        return self.evidence.lease_seconds + CRASH_SECONDS

    def _judge_tool(self, tool_call_id: str, entries: list[Entry]) -> None:
        asked_at = entries[0].monotonic_seconds
        name = f"{entries[0].payload['item']['name']} {tool_call_id}"
        self.judgement.tool_calls += 1
        sent = sum(
            e.payload["item"].get("call_id") == tool_call_id
            for e in self._of("frame_in", type_="conversation.item.create")
        )
        answers = len(self._answers[tool_call_id])
        self.judgement.refused_outputs += max(0, sent - answers)
        if answers > 1:
            self._blame("unanswered_tools", f"{name} was answered {answers} times", asked_at)
        if answers:
            return
        heard = any(self._heard(entry) for entry in entries)
        self.judgement.unheard_tools += not heard
        if not self._had_time_after(asked_at):
            return
        if heard:
            self._blame("unanswered_tools", f"{name} was heard, and never answered", asked_at)
        elif not any(e.monotonic_seconds > asked_at for e in self._of("frame_in", type_="response.create")):
            went_on = self._of("frame_out", "frame_lost", type_="response.created")
            if not any(e.monotonic_seconds > asked_at for e in went_on):
                self._blame("unanswered_tools", f"{name} was not heard, and silence followed", asked_at)

    def _judge_effects(self) -> None:
        done = [effect for effect in self.evidence.effects if effect.call_id == self.call_id]
        paid = Counter(effect.tool_call_id for effect in done if effect.tool == "pay")
        for tool_call_id, times in paid.items():
            if times > 1:
                self._blame("double_side_effects", f"pay {tool_call_id} happened {times} times")
        for tool_call_id in self._answered_as_done:
            if not any(effect.tool_call_id == tool_call_id for effect in done):
                self._blame("lost_side_effects", f"{tool_call_id} was answered as done, and left no effect")

    @cached_property
    def _answered_as_done(self) -> set[str]:
        return {id_ for id_, answers in self._answers.items() if any(a["output"] in DONE for a in answers)}

    def _judge_end(self, record: CallRecord | None) -> None:
        end = next(iter(self._of("end")), None)
        if end is None:
            self._blame("lost", "the call has not ended")
        elif end.type == "gave_up":
            self._blame("lost", "the caller gave up, since nobody took the call", end.monotonic_seconds)
        elif record is None or record.end_reason is None:
            self._blame("lost", f"OpenAI says {end.type}, and its record has no end", end.monotonic_seconds)
        elif record.end_reason not in self._fitting_reasons(end):
            self._blame("lost", f"OpenAI says {end.type}, its record {record.end_reason}", end.monotonic_seconds)

    def _fitting_reasons(self, end: Entry) -> set[EndReason]:
        if not any(took_effect(entry) for entry in self._log):
            return {EndReason.MISSED}
        if end.type != "hangup":
            return {EndReason.CALLER_HUNG_UP}
        # Who hung up is known to the owner that did; should it die then, the next one only finds the call gone.
        struck = any(d.at < end.monotonic_seconds + HEARD_SECONDS < d.until for d in self.evidence.disturbances)
        return {EndReason.AGENT_HUNG_UP, EndReason.CALLER_HUNG_UP} if struck else {EndReason.AGENT_HUNG_UP}

    def _judge_record(self, record: CallRecord) -> None:
        kept = {key.partition(":")[2] for key in record.state}
        for tool_call_id in sorted(self._answered_as_done - kept):
            self._blame("lost_state", f"{tool_call_id} was answered as done, and is not in the agent's state")
        heard = {
            e.payload["item_id"]: e
            for e in self._of("frame_out", type_="response.output_audio_transcript.done")
            if e.payload["transcript"] and self._heard(e)
        }
        for item_id in sorted(heard.keys() - {segment.item_id for segment in record.transcript}):
            entry = heard[item_id]
            what = f"{item_id} was heard, and is not in the transcript: {entry.payload['transcript']!r}"
            self._blame("lost_words", what, entry.monotonic_seconds)

    def _judge_logs(self) -> None:
        every_line = (line for lines in self.evidence.log_lines.values() for line in lines)
        about = [line for line in every_line if line.get("call_id") == self.call_id]
        if (ends := sum(line.get("message") == "ended" for line in about)) > 1:
            self._blame("lost", f"its record was ended {ends} times")
        for line in about:
            if line.get("message") == "call_failed":
                self._blame("crashes", f"a bug: {str(line.get('exception')).splitlines()[-1]}", end_of(self._log))
