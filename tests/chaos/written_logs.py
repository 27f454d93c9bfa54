"""Logs of calls that tests write by hand, and what the oracle makes of them."""

from __future__ import annotations

from typing import Any

from emulator.openai import Entry
from supervisor.outcomes import EndReason
from supervisor.records.record import CallRecord, Segment
from tests.chaos.evidence import Disturbance, Effect, Evidence
from tests.chaos.oracle import Judgement, judge

A, B = "sideband-supervisor (host-11)", "sideband-supervisor (host-22)"
CALL, TOOL = "rtc_1", "call_1"
PAID = Effect("pay", CALL, TOOL, 11)


class Log:
    """A call's log, written a line at a time; it was accepted at 0."""

    def __init__(self, *, accepted: bool = True) -> None:
        self.entries: list[Entry] = []
        self.add(0, "placed", "sip")
        if accepted:
            self.add(0, "rest", "accept", A, status=200, applied=True, faulty=False)

    def add(
        self, at: float, kind: Any, type_: str, who: str = "stand-in", attach: int | None = None, **payload: Any
    ) -> Log:
        """Add an entry; `at` is in seconds since the accept."""
        event = {"event_id": f"e{len(self.entries)}", **payload}
        self.entries.append(Entry(len(self.entries) + 1, at, at, CALL, kind, type_, who, 1, attach, event))
        return self

    def attach(self, at: float, who: str, attach: int) -> Log:
        """Attach a supervisor's socket, the how-manieth of the call."""
        return self.add(at, "attach", "attach", who, attach)

    def detach(self, at: float, who: str, attach: int) -> Log:
        """Detach it."""
        return self.add(at, "detach", "detach", who, attach)

    def writes(self, at: float, who: str, attach: int, **response: Any) -> Log:
        """Let a supervisor ask for a response."""
        return self.add(at, "frame_in", "response.create", who, attach, response=response)

    def tool_call(self, at: float, who: str = "stand-in", attach: int | None = None) -> Log:
        """Let the model call the tool; without a socket nobody gets to know."""
        item = {"type": "function_call", "status": "completed", "name": "pay", "call_id": TOOL}
        kind = "frame_out" if attach else "frame_lost"
        return self.add(at, kind, "response.output_item.done", who, attach, item=item)

    def output(self, at: float, who: str, attach: int, *, taken: bool = True) -> Log:
        """Let a supervisor send the tool's output, which OpenAI takes or refuses."""
        item = {"type": "function_call_output", "call_id": TOOL, "output": "paid"}
        self.add(at, "frame_in", "conversation.item.create", who, attach, item=item)
        return self.add(at, "frame_out", "conversation.item.done", who, attach, item=item) if taken else self

    def says(self, at: float, who: str, attach: int, item_id: str) -> Log:
        """Let the model say "Hello."."""
        type_ = "response.output_audio_transcript.done"
        return self.add(at, "frame_out", type_, who, attach, item_id=item_id, transcript="Hello.")

    def end(self, at: float = 60, reason: str = "caller_hung_up") -> Log:
        """End the call."""
        return self.add(at, "end", reason)


def evidence_of(
    log: Log,
    *disturbances: Disturbance,
    effects: tuple[Effect, ...] = (PAID,),
    end_reason: EndReason | None = EndReason.CALLER_HUNG_UP,
    **more: Any,
) -> Evidence:
    """Return the evidence of a run with one call and, unless another is given, a good record."""
    record = CallRecord(
        call_id=CALL,
        message_id="1",
        end_reason=end_reason,
        state={f"{CALL}:{TOOL}": "done"},
        transcript=[Segment(item_id="item_1", role="agent", text="Hello.", at=1)],
    )
    fields = {"records": {CALL: record}, "effects": effects, "disturbances": disturbances, **more}
    return Evidence(lease_seconds=10, logs={CALL: log.entries}, **fields)


def judged(log: Log, *disturbances: Disturbance, **more: Any) -> Judgement:
    """Judge such a run."""
    return judge(evidence_of(log, *disturbances, **more))


def found(judgement: Judgement) -> dict[str, int]:
    """Return the counters that are not 0."""
    return {name: count for name, count in judgement.counters.items() if count}


def held_by_a() -> Log:
    """Begin the log of a call that A is attached to from the start."""
    return Log().attach(0, A, 1)
