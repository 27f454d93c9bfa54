"""What the parts of the model share: the plan, calls, claims, and the books."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from simpy import Environment

from tests.simulate.figures import Figures
from tests.simulate.measures import Counts
from tests.simulate.pubsub import Lease, Notice, PubSub, after
from tests.simulate.queues import Queue


class TwoWritersError(AssertionError):
    """Two processes may write to one call: the model, or the design, is wrong."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a fleet is set up; times are in seconds."""

    calls: int = 100_000
    """At once, when a run begins; as many ring as end."""
    supervisors: int = 500
    zones: int = 3
    share: float = 1.0
    """Which part of the region's quotas this fleet has."""
    databases: int = 12
    max_calls: int = 320
    reserved: int = 0
    """Slots that ringing calls are not given."""
    lease_seconds: float = 20.0
    renewals_per_lease: float = 3.0
    fence_seconds: float = 1.0
    """Writing stops so long before a lease can have run out."""
    late_share: float = 0.1
    """Of a lease, after which an unanswered request to Pub/Sub gets another beside it."""
    renewal_limit_seconds: float = 60.0
    """After which an answer to a renewal is no longer listened to."""
    retry_seconds: float = 0.5
    """Between a refusal and the next request."""
    confirm_seconds: float = 10.0
    """How long the first renewal may take."""
    attaches_at_once: int = 64
    answer_seconds: float = 8.0
    """After which a ringing call is refused where there is no room."""
    pass_on_seconds: float = 1.0
    """For which a notice is given back where there is no room."""
    look_seconds: float = 1.0
    """Between two looks of a full supervisor at what waits."""
    looked_at: int = 10
    """How many notices it looks at."""
    handover_seconds: float = 8.0
    guardian_seconds: float = 0.06
    one_core: bool = False
    """Whether all supervisors share a core, as on one small machine."""
    starts_full: bool = True
    """Whether a run begins with all calls owned."""

    @property
    def late_seconds(self) -> float:
        """Say after how long an unanswered request gets another beside it."""
        return self.lease_seconds * self.late_share


@dataclass(eq=False, slots=True)
class Call:
    """One call, and when what became of it."""

    rang_at: float
    seconds: float
    """How long the caller talks."""
    published_at: float = 0.0
    delivered_at: float = 0.0
    confirmed_at: float = 0.0
    opened_at: float = 0.0
    answered_at: float | None = None
    claim: Claim | None = None
    """Of the last process that was attached."""
    alone_since: float | None = None
    """Since when nobody may write, once it was answered."""
    listened_until: float = 0.0
    over: bool = False

    def stamp(self, stage: str, now: float) -> None:
        """Note when a stage on the way to the answer was passed."""
        if self.answered_at is None:
            setattr(self, stage, now)


@dataclass(eq=False, slots=True)
class Claim:
    """A leased notice in the hands of one supervisor."""

    notice: Notice[Call]
    delivery: int
    settle: Callable[[Claim], None]
    """What its supervisor does when the call is over."""
    write_until: float = 0.0
    lost: bool = False

    @property
    def lease(self) -> Lease[Call]:
        """Name it as Pub/Sub does."""
        return self.notice, self.delivery

    def may_write(self, now: float) -> bool:
        """Tell whether no other process can own the call yet."""
        return not self.lost and now < self.write_until


class Change(NamedTuple):
    """A living call changes hands; or ends with nobody near."""

    lost_at: float
    listened_until: float
    attached_at: float

    @property
    def alone_seconds(self) -> float:
        """Say how long nobody could write."""
        return self.attached_at - self.lost_at

    @property
    def deaf_seconds(self) -> float:
        """Say how long nobody listened."""
        return max(0.0, self.attached_at - max(self.lost_at, self.listened_until))


@dataclass(eq=False)
class Books:
    """Which calls ring, are served, are alone, and are over; each is one of these."""

    env: Environment
    rang: int = 0
    ringing: int = 0
    served: int = 0
    alone: int = 0
    ended: int = 0
    rang_out: int = 0
    refused_seconds: list[float] = field(default_factory=list)
    """After how long those were refused who were."""
    answered: list[Call] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def ring(self, call: Call) -> None:
        """Note that a caller begins to wait."""
        self.rang += 1
        self.ringing += 1
        assert call.rang_at == self.env.now

    def attach(self, claim: Claim) -> None:
        """Note that a process is attached, and may write.

        Raises:
            TwoWritersError: another one may, too.
        """
        call, now = claim.notice.content, self.env.now
        if call.claim is not None and call.claim.may_write(now):
            raise TwoWritersError(f"at {now:.3f} s")
        call.claim = claim
        if call.over:
            claim.settle(claim)
        elif call.answered_at is None:
            call.answered_at = now
            self.ringing -= 1
            self.served += 1
            self.answered.append(call)
            after(self.env, call.seconds, lambda: self.hang_up(call))
        elif call.alone_since is not None:
            self._found(call)
            self.served += 1

    def leave(self, claim: Claim, since: float, *, listened_until: float) -> None:
        """Note that a process may no longer write."""
        call = claim.notice.content
        if call.claim is claim and not call.over and call.alone_since is None:
            call.alone_since, call.listened_until = since, listened_until
            self.served -= 1
            self.alone += 1

    def _found(self, call: Call) -> None:
        assert call.alone_since is not None
        self.changes.append(Change(call.alone_since, call.listened_until, self.env.now))
        call.alone_since = None
        self.alone -= 1

    def hang_up(self, call: Call) -> None:
        """End an answered call, owned or not."""
        call.over = True
        self.ended += 1
        if call.alone_since is not None:
            self._found(call)
        else:
            self.served -= 1
            assert call.claim is not None
            call.claim.settle(call.claim)

    def refuse(self, call: Call) -> None:
        """Note that a ringing call is refused."""
        self._never_answered(call)
        self.refused_seconds.append(self.env.now - call.rang_at)

    def ring_out(self, call: Call) -> None:
        """Note that a caller gave up before anybody decided."""
        self._never_answered(call)
        self.rang_out += 1

    def _never_answered(self, call: Call) -> None:
        call.over = True
        self.ringing -= 1

    @property
    def balanced(self) -> bool:
        """Tell whether every call that rang is in one place."""
        unanswered = self.ringing + len(self.refused_seconds) + self.rang_out
        return self.rang == unanswered + self.served + self.alone + self.ended


class Database:
    """Firestore: a round trip, and behind it as many documents a second as its databases take."""

    def __init__(
        self, env: Environment, figures: Figures, counts: Counts, plan: Plan, round_trip: Callable[[], float]
    ) -> None:
        self._env = env
        self._figures = figures
        self._counts = counts
        self._per_second = figures.database_writes_per_second * plan.share
        self._queue = Queue(plan.databases)
        self._round_trip = round_trip

    def write(self, documents: float) -> float:
        """Write documents; returns in how many seconds they are written."""
        self._counts.add("documents", documents)
        return self._round_trip() + self._queue.join(self._env.now, documents / self._per_second)

    def open(self) -> float:
        """Create a record: one round trip."""
        return self.write(1)

    def open_again(self) -> float:
        """Read a record, raise its epoch, read its journal: three round trips."""
        return self._round_trip() + self.open() + self._round_trip()


@dataclass(eq=False)
class World:
    """Everything that is not a supervisor."""

    env: Environment
    random: Random
    figures: Figures
    plan: Plan
    counts: Counts = field(init=False)
    pubsub: PubSub[Call] = field(init=False)
    database: Database = field(init=False)
    books: Books = field(init=False)

    def __post_init__(self) -> None:
        self.counts = Counts(self.env)
        self.books = Books(self.env)
        self.pubsub = PubSub(self.env, self.random, self.figures, self.counts, share=self.plan.share)
        self.database = Database(
            self.env, self.figures, self.counts, self.plan, lambda: self.pubsub.latency.of(self.figures.store_seconds)
        )
