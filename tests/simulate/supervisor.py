"""A supervisor in the model: its slots, core, pulls and renewals, and its ends.

It follows docs/architecture.md and the decisions 0006, 0007 and 0011: a guardian gives back what a dead process left, a
renewal may take until the fence, slots can be kept for calls that change hands, and a full supervisor looks at ringing
calls all the same.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from simpy import Event

from tests.simulate.pubsub import Lease, after
from tests.simulate.queues import Queue
from tests.simulate.world import Call, Claim, World

Process = Generator[Event, Any, None]


class Supervisor:
    """One process."""

    def __init__(self, world: World, *, zone: int, core: Queue, max_calls: int) -> None:
        self._world = world
        self._env = world.env
        self._pubsub = world.pubsub
        self._plan = world.plan
        self._figures = world.figures
        self.zone = zone
        self._max_calls = max_calls
        self.claims: dict[Claim, None] = {}  # in order, so that a seed gives one result
        self.alive = True
        self._core = core
        self._attaches = Queue(world.plan.attaches_at_once)
        self._pulling = True
        self._pull: Event | None = None
        self._unconfirmed: Sequence[Claim] = []
        self._renewed_at = 0.0
        for process in (self._pull_forever(), self._renew_forever(), self._write_forever()):
            self._env.process(process)

    @property
    def free(self) -> int:
        """Say how many slots it has left."""
        return max(0, self._max_calls - len(self.claims))

    def _work(self, core_seconds: float) -> float:
        """Queue for the core; returns in how many seconds the work is done."""
        talking = min(0.9, len(self.claims) * self._figures.talk_core_share)
        self._world.counts.add("core", core_seconds)
        return self._core.join(self._env.now, core_seconds / (1 - talking))

    # Claim.

    def _pull_forever(self) -> Process:
        while self._pulling:
            if not self.free:
                yield self._env.timeout(self._plan.look_seconds)
            pull = self._pull = self._pubsub.pull(self.free or self._plan.looked_at)
            leases = yield pull
            self._pull = None
            yield from self._confirm([Claim(notice, delivery, self.settle) for notice, delivery in leases])

    def _confirm(self, claims: Sequence[Claim]) -> Process:
        """Renew for the first time, and take what is confirmed."""
        if not self._pulling:
            if self.alive:
                self._release(claims, 0)
            return
        self._unconfirmed = claims
        sent_at = self._env.now
        for claim in claims:
            claim.notice.content.stamp("delivered_at", sent_at)
        answer = self._pubsub.extend([claim.lease for claim in claims], self._plan.lease_seconds)
        yield answer | self._env.timeout(self._plan.confirm_seconds)
        self._unconfirmed = []
        if not self.alive or not answer.triggered or answer.value is None:
            return  # they come again when their leases have run out
        for claim, lives in zip(claims, answer.value, strict=True):
            if lives:
                claim.write_until = sent_at + self._plan.lease_seconds - self._plan.fence_seconds
                self._admit(claim)

    def _admit(self, claim: Claim) -> None:
        """Take a call, refuse it when its time is up, or give it back for a moment."""
        call, books = claim.notice.content, self._world.books
        waited_seconds = self._env.now - call.rang_at
        answered = call.answered_at is not None
        if not self._pulling:
            self._release([claim], 0)
        elif not answered and waited_seconds > self._figures.ring_seconds:
            books.ring_out(call)
            self._pubsub.acknowledge(claim.lease)
        elif self.free > (0 if answered else self._plan.reserved):
            call.stamp("confirmed_at", self._env.now)
            self.claims[claim] = None
            self._env.process(self._take(claim))
        elif not answered and waited_seconds > self._plan.answer_seconds:
            books.refuse(call)
            self._pubsub.acknowledge(claim.lease)
        else:
            self._world.counts.add("passed on")
            self._release([claim], self._plan.pass_on_seconds)

    def _take(self, claim: Claim) -> Process:
        """Open the record, accept and attach; the core is waited for before each."""
        call, figures, database = claim.notice.content, self._figures, self._world.database
        latency, third = self._pubsub.latency, figures.take_core_seconds / 3
        answered = call.answered_at is not None
        yield self._env.timeout(self._work(third))
        yield self._env.timeout(database.open_again() if answered else database.open())
        call.stamp("opened_at", self._env.now)
        yield self._env.timeout(self._work(third))
        if not answered:
            yield self._env.timeout(latency.of(figures.accept_seconds))
        if claim.may_write(self._env.now):
            self._world.counts.add("attaches")
            yield self._env.timeout(self._attaches.join(self._env.now, latency.of(figures.attach_seconds)))
            yield self._env.timeout(self._work(third))
        if claim.may_write(self._env.now):
            self._world.books.attach(claim)

    def settle(self, claim: Claim) -> None:
        """Acknowledge a call that is over."""
        if self.alive and not claim.lost:
            del self.claims[claim]
            claim.lost = True
            self._pubsub.acknowledge(claim.lease)

    # Renew.

    def _renew_forever(self) -> Process:
        pause_seconds = self._plan.lease_seconds / self._plan.renewals_per_lease
        yield self._env.timeout(self._world.random.uniform(0, pause_seconds))
        while self.alive:
            due = self._env.timeout(pause_seconds)
            yield from self._renew()
            yield due

    def _renew(self) -> Process:
        """Extend all leases, with another request beside one that is not answered."""
        began_at = self._env.now
        while self.alive and self.claims and self._renewed_at <= began_at:
            answer = self._extend_all()
            yield answer | self._env.timeout(self._plan.late_seconds)
            for claim in [claim for claim in self.claims if claim.write_until <= self._env.now]:
                self._lose(claim, claim.write_until, listened_until=claim.write_until + self._plan.lease_seconds)
            if answer.triggered and answer.value is None:
                yield self._env.timeout(self._plan.retry_seconds)

    def _extend_all(self) -> Event:
        claims, sent_at = list(self.claims), self._env.now
        answer = self._pubsub.extend([claim.lease for claim in claims], self._plan.lease_seconds)

        def renewed(answer: Event) -> None:
            if self.alive and answer.value and self._env.now - sent_at <= self._plan.renewal_limit_seconds:
                self._renewed_at = self._env.now
                self._renewed(claims, answer.value, sent_at)

        assert answer.callbacks is not None
        answer.callbacks.append(renewed)
        return answer

    def _renewed(self, claims: Sequence[Claim], alive: Sequence[bool], sent_at: float) -> None:
        until = sent_at + self._plan.lease_seconds - self._plan.fence_seconds
        for claim, lives in zip(claims, alive, strict=True):
            if claim.lost:
                continue
            if lives:
                claim.write_until = max(claim.write_until, until)
            else:
                self._lose(claim, self._env.now, listened_until=self._env.now)

    def _lose(self, claim: Claim, since: float, *, listened_until: float) -> None:
        claim.lost = True
        del self.claims[claim]
        self._world.counts.add("fenced")
        self._world.books.leave(claim, since, listened_until=listened_until)

    # Write.

    def _write_forever(self) -> Process:
        """Write what is new in the records, once a second."""
        yield self._env.timeout(self._world.random.random())
        while self.alive:
            if self.claims:
                self._world.database.write(len(self.claims) * self._figures.writes_per_second)
            yield self._env.timeout(1)

    # End.

    def hand_over(self) -> Process:
        """Give all calls to others, as after SIGTERM, and listen meanwhile."""
        gone_at = self._env.now + self._plan.handover_seconds
        self._stop_pulling()
        leave_seconds = self._figures.change_core_seconds - self._figures.take_core_seconds
        yield self._env.timeout(self._work(leave_seconds * len(self.claims)) + self._world.database.open())
        self._release(self._leave_all(listened_until=gone_at), 0)
        yield self._env.timeout(max(0.0, gone_at - self._env.now))
        self.alive = False

    def crash(self) -> None:
        """End without a word; the guardian gives the calls back."""
        claims = [*self._unconfirmed, *self.die()]
        after(self._env, self._plan.guardian_seconds, lambda: self._release(claims, 0))

    def die(self) -> list[Claim]:
        """End without a word, guardian and all: the leases run out. Returns what it had."""
        self._stop_pulling()
        self.alive = False
        return self._leave_all(listened_until=self._env.now)

    def _stop_pulling(self) -> None:
        self._pulling = False
        if self._pull is not None:
            self._pubsub.end_pull(self._pull)

    def _leave_all(self, *, listened_until: float) -> list[Claim]:
        claims, self.claims = list(self.claims), {}
        for claim in claims:
            claim.lost = True
            self._world.books.leave(claim, self._env.now, listened_until=listened_until)
        return claims

    def _release(self, claims: Sequence[Claim], seconds: float) -> None:
        """Give notices back, at once or after a back-off, until Pub/Sub says so."""
        if claims:
            self._env.process(self._released([claim.lease for claim in claims], seconds))

    def _released(self, leases: Sequence[Lease[Call]], seconds: float) -> Process:
        until = self._env.now + self._plan.lease_seconds
        while self._env.now < until:
            answer = self._pubsub.extend(leases, seconds)
            yield answer | self._env.timeout(self._plan.late_seconds)
            if answer.triggered and answer.value is not None:
                return
            yield self._env.timeout(self._plan.retry_seconds)
