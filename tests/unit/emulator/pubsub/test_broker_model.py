"""The broker against a model of the promise: one owner at a time, nothing lost, nothing back from the dead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.pubsub_v1.types import (
    AcknowledgeRequest,
    ModifyAckDeadlineRequest,
    PublishRequest,
    PubsubMessage,
    PullRequest,
    Subscription,
    Topic,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from emulator.pubsub.broker import Broker

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "projects/here/topics/calls"
CLAIMS = "projects/here/subscriptions/claims"
ACK_DEADLINE_SECONDS = 10


@dataclass
class Lease:
    message: str
    ends: float


class ExactlyOnce(RuleBasedStateMachine):
    """Publishes, pulls, acks, extends, nacks and lets time pass, with ack ids old and new in any mixture."""

    ack_ids = Bundle("ack_ids")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_800_000_000.0
        self.broker = Broker(lambda: self.now, lambda: None)
        self.broker.create_topic(Topic(name=TOPIC))
        self.broker.create_subscription(
            Subscription(
                name=CLAIMS,
                topic=TOPIC,
                enable_exactly_once_delivery=True,
                ack_deadline_seconds=ACK_DEADLINE_SECONDS,
            )
        )
        self.unacked: set[str] = set()
        self.leases: dict[str, Lease] = {}

    def living(self) -> dict[str, Lease]:
        self.leases = {ack_id: lease for ack_id, lease in self.leases.items() if lease.ends > self.now}
        return self.leases

    @rule(count=st.integers(1, 5))
    def publish(self, count: int) -> None:
        messages = [PubsubMessage(data=b"call")] * count
        self.unacked |= set(self.broker.publish(PublishRequest(topic=TOPIC, messages=messages)).message_ids)

    @rule(target=ack_ids, limit=st.integers(1, 5))
    def pull(self, limit: int) -> object:
        """What was ready comes, each once, up to the limit; nothing that somebody owns, and nothing acked."""
        owned = {lease.message for lease in self.living().values()}
        received = self.broker.pull(PullRequest(subscription=CLAIMS, max_messages=limit)).received_messages
        pulled = [it.message.message_id for it in received]
        assert len(pulled) == len(set(pulled)) == min(limit, len(self.unacked - owned))
        assert set(pulled) <= self.unacked - owned
        assert not {it.ack_id for it in received} & set(self.leases)
        self.leases |= {it.ack_id: Lease(it.message.message_id, self.now + ACK_DEADLINE_SECONDS) for it in received}
        return multiple(*(it.ack_id for it in received))

    @rule(named=st.lists(ack_ids, min_size=1, max_size=5))
    def acknowledge(self, named: list[str]) -> None:
        living = self.living()
        self.expect_lost(
            set(named) - set(living),
            lambda: self.broker.acknowledge(AcknowledgeRequest(subscription=CLAIMS, ack_ids=named)),
        )
        for ack_id in set(named) & set(living):
            self.unacked.remove(living.pop(ack_id).message)

    @rule(named=st.lists(ack_ids, min_size=1, max_size=5), seconds=st.integers(0, 600))
    def extend(self, named: list[str], seconds: int) -> None:
        """Extends, shortens, or nacks with 0."""
        living = self.living()
        request = ModifyAckDeadlineRequest(subscription=CLAIMS, ack_ids=named, ack_deadline_seconds=seconds)
        self.expect_lost(set(named) - set(living), lambda: self.broker.modify_ack_deadline(request))
        for ack_id in set(named) & set(living):
            living[ack_id].ends = self.now + seconds

    @rule(seconds=st.one_of(st.integers(1, 60), st.sampled_from([9.5, 10.0, 599.5])))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds

    @rule(ack_id=consumes(ack_ids))
    def forget(self, ack_id: str) -> None:
        """An owner crashes: its ack id is never used again."""

    @invariant()
    def expiry_is_looked_after(self) -> None:
        """The next alarm comes no later than the next lease ends."""
        ends = [lease.ends for lease in self.living().values()]
        alarm = self.broker.next_expiry()
        assert not ends or (alarm is not None and alarm <= min(ends))

    def teardown(self) -> None:
        """When every lease has run out, all that was not acked can be pulled: nothing was lost."""
        self.now += 600
        received = self.broker.pull(PullRequest(subscription=CLAIMS, max_messages=10_000)).received_messages
        assert sorted(it.message.message_id for it in received) == sorted(self.unacked)

    def expect_lost(self, ack_ids: set[str], request: Callable[[], None]) -> None:
        if ack_ids:
            with pytest.raises(exceptions.InvalidArgument) as error:
                request()
            assert set(error.value.details[0].metadata) == ack_ids
        else:
            request()


ExactlyOnce.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)
TestExactlyOnce = ExactlyOnce.TestCase
