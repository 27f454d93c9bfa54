"""Who had a call, and when: read from the sockets that OpenAI saw, and from what was done to their processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

from emulator.openai import Entry
from tests.chaos.evidence import Disturbance, Span, pid_of

Change = Literal["crash", "handover", "double_fault", "other"]


@dataclass(frozen=True, slots=True)
class Hold:
    """One socket, from its attach to its detach."""

    attach: int
    who: str
    since: float
    until: float

    @property
    def pid(self) -> int:
        """Whose socket it was."""
        return pid_of(self.who)


@dataclass(frozen=True, slots=True)
class Gap:
    """The time between two owners; it ends before it begins where the second was there before the first had left."""

    change: Change
    since: float
    until: float

    @property
    def seconds(self) -> float:
        """How long nobody could write."""
        return max(0.0, self.until - self.since)


def end_of(log: Sequence[Entry]) -> float:
    """Return when the call ended, or was last seen."""
    return next((e.monotonic_seconds for e in log if e.kind == "end"), log[-1].monotonic_seconds)


def holds_of(log: Sequence[Entry]) -> list[Hold]:
    """Return the sockets of a call, in the order in which they attached."""
    ended_at = end_of(log)
    gone = {e.attach: e.monotonic_seconds for e in log if e.kind == "detach"}
    return [
        Hold(e.attach or 0, e.who, e.monotonic_seconds, min(ended_at, gone.get(e.attach, ended_at)))
        for e in log
        if e.kind == "attach"
    ]


def quiet_spans(hold: Hold, disturbances: Sequence[Disturbance]) -> list[Span]:
    """Return the parts of a hold in which nothing was done to its process.

    A hiccup of Pub/Sub does not count, since it is not to be felt in a call.
    """
    spans: list[Span] = [(hold.since, hold.until)]
    for d in disturbances:
        if d.strikes(hold.pid) and d.kind != "hiccup":
            spans = [
                part for since, until in spans for part in ((since, min(until, d.at)), (max(since, d.until), until))
            ]
            spans = [(since, until) for since, until in spans if since < until]
    return spans


def orphaned_spans(log: Sequence[Entry], disturbances: Sequence[Disturbance]) -> Iterator[Span]:
    """Find when the living call had no owner, and nothing explains it.

    Each further fault, and each of OpenAI's refusals, begins another span: a lease is to be waited for once more.
    """
    accepted_at = next((e.monotonic_seconds for e in log if took_effect(e)), None)
    if accepted_at is None:
        return
    excuses = [moment for d in disturbances for moment in (d.at, d.until)]
    excuses += [e.monotonic_seconds for e in log if e.kind == "fault" or _failed(e)]
    for since, until in _unheld(log, accepted_at, disturbances):
        yield from pairwise(sorted([since, *(moment for moment in excuses if since < moment < until), until]))


def gaps_of(
    log: Sequence[Entry],
    disturbances: Sequence[Disturbance],
    attempts: Mapping[int, int],
    handed_over_at: Mapping[int, float] = MappingProxyType({}),
) -> Iterator[Gap]:
    """Find the gaps between owners that are different processes.

    A crash's begins with the kill or the freeze. A hand-over's begins when the one that was told to stop had written
    down that it leaves (until then it serves the call, and lets its tools finish), or with its last frame, or, where
    neither is known, with its SIGTERM. Any other begins with the loss of the socket. Where a second
    fault struck while the call was between two owners, the gap counts apart: its notice was leased to a process that
    could not attach, or the next owner was hindered.

    Args:
        log: the call's.
        disturbances: what was done to which process.
        attempts: the delivery attempt that each process claimed the call in, by process id.
        handed_over_at: when the last owner left, in Unix seconds, by the id of the process that read so in the record.
    """
    for last, following in pairwise(holds_of(log)):
        if last.who == following.who:
            continue
        change, since = _lost_by(last, following, log, disturbances)
        if change == "handover":
            to_monotonic = log[0].monotonic_seconds - log[0].unix_seconds
            since = max(since, min(handed_over_at.get(following.pid, 0.0) + to_monotonic, following.since))
        leased_in_vain = attempts.get(following.pid, 0) - attempts.get(last.pid, 0) > 1
        if leased_in_vain or _was_hindered(following, since, log, disturbances):
            change = "double_fault"
        yield Gap(change, since, following.since)


def _was_hindered(following: Hold, since: float, log: Sequence[Entry], disturbances: Sequence[Disturbance]) -> bool:
    """Return whether something kept the next owner from taking the call."""
    struck = any(d.strikes(following.pid) and d.at < following.since and d.until > since for d in disturbances)
    return struck or any(_failed(e) and since < e.monotonic_seconds < following.since for e in log)


def _failed(entry: Entry) -> bool:
    """Return whether OpenAI refused an attach, or failed a request."""
    return entry.kind == "refused" or (entry.kind == "rest" and bool(entry.payload["faulty"]))


def _lost_by(
    last: Hold, following: Hold, log: Sequence[Entry], disturbances: Sequence[Disturbance]
) -> tuple[Change, float]:
    """Return what took the call from its owner, and since when nobody could write."""
    done = [d for d in disturbances if d.pid == last.pid and d.at <= following.since and d.until >= last.since]
    if crashes := [d.at for d in done if d.kind in ("kill", "freeze") and d.at <= last.until + 1]:
        return "crash", max(crashes[-1], last.since)
    if stops := [d.at for d in done if d.kind == "restart"]:
        frames = [e.monotonic_seconds for e in log if e.kind == "frame_in" and e.who == last.who]
        return "handover", max(stops[-1], *(at for at in frames if at <= following.since), last.since)
    return "other", last.until


def _unheld(log: Sequence[Entry], accepted_at: float, disturbances: Sequence[Disturbance]) -> Iterator[Span]:
    """Find when no process that could write held the living call."""
    held_until = accepted_at
    for hold in holds_of(log):
        ends = [d.at for d in disturbances if d.pid == hold.pid and d.kind in ("kill", "freeze") and d.at >= hold.since]
        if hold.since > held_until:
            yield held_until, hold.since
        held_until = max(held_until, min([hold.until, *ends]))
    if held_until < end_of(log):
        yield held_until, end_of(log)


def took_effect(entry: Entry) -> bool:
    """Return whether this accept took the call, whatever was answered to it."""
    done = entry.kind == "rest" and entry.type == "accept" and entry.payload["applied"]
    return bool(done) and (entry.payload["faulty"] or entry.payload["status"] == HTTPStatus.OK)
