"""Pulls, leases and dead letters, held against the embedded Pub/Sub and against Google's emulator.

Every test runs on both, with Google's clients. Where the two differ, `test_pubsub_differences.py` says how.
"""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from google.api_core import exceptions
from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage

from tests.support.pubsub_servers import LONG_LEASE_SECONDS, ONCE, Pubsub, lost


class TestPull:
    async def test_it_brings_no_more_than_asked(self, pubsub: Pubsub) -> None:
        """A pull never brings more than was asked for."""
        await pubsub.create_calls()
        for number in range(5):
            await pubsub.publish(b"%d" % number)
        first, second = await pubsub.pull(2), await pubsub.pull(2)
        assert 1 <= len(first) <= 2
        assert 1 <= len(second) <= 2
        rest = await pubsub.pull_all(5 - len(first) - len(second))
        assert {it.message.data for it in first + second + rest} == {b"0", b"1", b"2", b"3", b"4"}

    async def test_it_must_ask_for_something(self, pubsub: Pubsub) -> None:
        """A pull for no messages is refused."""
        await pubsub.create_calls()
        with pytest.raises(exceptions.InvalidArgument):
            await pubsub.pull(0)

    async def test_it_waits_for_a_message(self, pubsub: Pubsub) -> None:
        """A pull waits for a message."""
        await pubsub.create_calls()
        async with asyncio.TaskGroup() as tasks:
            pull = tasks.create_task(pubsub.pull())
            await asyncio.wait([pull], timeout=0.3)
            assert not pull.done()
            await pubsub.publish(b"late")
        assert [it.message.data for it in pull.result()] == [b"late"]

    async def test_it_answers_before_the_deadline(self, pubsub: Pubsub) -> None:
        """A pull answers empty before the client gives up."""
        await pubsub.create_calls()
        assert await pubsub.pull(seconds=2.5) == []

    async def test_each_message_goes_to_one_pull(self, pubsub: Pubsub) -> None:
        """Every message goes to one of the waiting pulls."""
        await pubsub.create_calls()
        async with asyncio.TaskGroup() as tasks:
            pulls = [tasks.create_task(pubsub.pull()) for _ in range(4)]
            for number in range(4):
                await pubsub.publish(b"%d" % number)
        received = [it.message.data for pull in pulls for it in pull.result()]
        assert sorted(received) == [b"0", b"1", b"2", b"3"]

    async def test_race_of_a_cancel_with_delivery(self, pubsub: Pubsub) -> None:
        """Race: a pull is cancelled in the instant of delivery.

        The message went to the client, or to nobody; it comes again when the lease is over, at the latest.
        """
        await pubsub.create_calls()
        received: set[bytes] = set()
        for number in range(20):
            pull = asyncio.create_task(pubsub.pull())
            publish = asyncio.create_task(pubsub.publish(b"%d" % number))
            await asyncio.wait([publish] if number % 2 else [publish, pull], return_when=asyncio.FIRST_COMPLETED)
            pull.cancel()
            await asyncio.wait([pull, publish])
            if not pull.cancelled():
                received |= {it.message.data for it in pull.result()}
        async with asyncio.timeout(30):
            while len(received) < 20:
                received |= {it.message.data for it in await pubsub.pull(20)}


class TestLeases:
    async def test_a_nacked_message_comes_at_once(self, pubsub: Pubsub) -> None:
        """A nacked message comes again at once.

        Long before its lease is over, under a new ack id; the old one is worth nothing any more.
        """
        await pubsub.create_calls(lease_seconds=LONG_LEASE_SECONDS)
        await pubsub.publish(b"handed over")
        [first] = await pubsub.pull()
        waiting = asyncio.create_task(pubsub.pull())
        await pubsub.nack(first.ack_id)
        [second] = await waiting
        assert second.message == first.message
        assert second.ack_id != first.ack_id
        for refused in (
            pubsub.acknowledge(first.ack_id),
            pubsub.extend(first.ack_id, seconds=30),
            pubsub.nack(first.ack_id),
        ):
            with pytest.raises(exceptions.InvalidArgument) as error:
                await refused
            assert lost(error) == {first.ack_id}
        assert await pubsub.ready() == []
        await pubsub.acknowledge(second.ack_id)

    async def test_lost_ids_spoil_no_good_ones(self, pubsub: Pubsub) -> None:
        """Good ack ids are served in spite of lost ones.

        A batch that is refused for some ids has done its work for the others.
        """
        await pubsub.create_calls()
        for name in (b"lost", b"acked", b"nacked", b"extended"):
            await pubsub.publish(name)
        ack_ids = {it.message.data: it.ack_id for it in await pubsub.pull_all(4)}
        await pubsub.acknowledge(ack_ids[b"lost"])
        for batch in (
            pubsub.acknowledge(ack_ids[b"lost"], ack_ids[b"acked"]),
            pubsub.nack(ack_ids[b"nacked"], ack_ids[b"lost"]),
            pubsub.extend(ack_ids[b"lost"], ack_ids[b"extended"], seconds=60),
        ):
            with pytest.raises(exceptions.InvalidArgument) as error:
                await batch
            assert lost(error) == {ack_ids[b"lost"]}
        assert [it.message.data for it in await pubsub.pull(4)] == [b"nacked"]
        with pytest.raises(exceptions.InvalidArgument) as error:
            await pubsub.acknowledge(*ack_ids.values())
        assert lost(error) == set(ack_ids.values()) - {ack_ids[b"extended"]}

    async def test_an_id_named_twice_is_served_once(self, pubsub: Pubsub) -> None:
        """An ack id that is named twice is served once."""
        await pubsub.create_calls()
        await pubsub.publish()
        [held] = await pubsub.pull()
        await pubsub.acknowledge(held.ack_id, held.ack_id)

    async def test_a_malformed_id_spoils_the_batch(self, pubsub: Pubsub) -> None:
        """A malformed ack id spoils the batch.

        So does one of another subscription: nothing is done for the good ones, and no id is declared lost.
        """
        await pubsub.create_calls()
        await pubsub.subscribe("other")
        await pubsub.publish()
        [held], [others] = await pubsub.pull(), await pubsub.pull(name="other")
        for bad in ("", "garbage", f"{pubsub.subscription()}:x", others.ack_id):
            for batch in (pubsub.acknowledge(held.ack_id, bad), pubsub.nack(held.ack_id, bad)):
                with pytest.raises(exceptions.InvalidArgument, match=re.compile("invalid ack id", re.IGNORECASE)) as e:
                    await batch
                assert not e.value.details
        for empty in (pubsub.acknowledge(), pubsub.nack()):
            with pytest.raises(exceptions.InvalidArgument, match="No ack ids"):
                await empty
        await pubsub.acknowledge(held.ack_id)

    async def test_without_exactly_once_no_news(self, pubsub: Pubsub) -> None:
        """Without exactly-once delivery nobody is told of a lost lease.

        Stale ack ids are welcome and do nothing; this is why exactly-once is on.
        """
        await pubsub.create_calls(exactly_once=False)
        await pubsub.publish()
        [stale] = await pubsub.pull()
        await pubsub.nack(stale.ack_id)
        [held] = await pubsub.pull()
        await pubsub.extend(stale.ack_id, seconds=30)
        await pubsub.nack(stale.ack_id)
        await pubsub.acknowledge(stale.ack_id)
        assert await pubsub.ready() == []
        await pubsub.nack(held.ack_id)
        assert len(await pubsub.pull()) == 1

    async def test_a_renewed_lease_lives_on(self, pubsub: Pubsub) -> None:
        """A lease lives as long as it is renewed.

        Of two that would soon run out the renewed one stays, the other comes again and its first owner is told.
        """
        await pubsub.create_calls()
        await pubsub.publish(b"renewed")
        await pubsub.publish(b"expired")
        ack_ids = {it.message.data: it.ack_id for it in await pubsub.pull_all(2)}
        await pubsub.extend(*ack_ids.values(), seconds=5)
        await pubsub.extend(ack_ids[b"renewed"], seconds=60)
        assert [it.message.data for it in await pubsub.pull(2)] == [b"expired"]
        with pytest.raises(exceptions.InvalidArgument) as error:
            await pubsub.extend(*ack_ids.values(), seconds=10)
        assert lost(error) == {ack_ids[b"expired"]}
        await pubsub.acknowledge(ack_ids[b"renewed"])

    async def test_a_crashed_owner_is_succeeded(self, pubsub: Pubsub) -> None:
        """A crashed owner is succeeded when its lease is over, and not before.

        The first lease is the subscription's ack deadline, 10 s, give or take the emulators' second.
        """
        await pubsub.create_calls()
        await pubsub.publish()
        pulled_at = time.monotonic()
        [crashed] = await pubsub.pull()
        [successor] = await pubsub.pull(seconds=20)
        assert time.monotonic() - pulled_at > 8
        with pytest.raises(exceptions.InvalidArgument) as error:
            await pubsub.acknowledge(crashed.ack_id)
        assert lost(error) == {crashed.ack_id}
        await pubsub.acknowledge(successor.ack_id)

    async def test_what_is_acked_is_gone(self, pubsub: Pubsub) -> None:
        """A message that was acked is gone. Also when its lease would have run out; acking again is refused."""
        await pubsub.create_calls()
        await pubsub.publish()
        [held] = await pubsub.pull()
        await pubsub.extend(held.ack_id, seconds=1)
        await pubsub.acknowledge(held.ack_id)
        assert await pubsub.pull(seconds=4) == []
        with pytest.raises(exceptions.InvalidArgument) as error:
            await pubsub.acknowledge(held.ack_id)
        assert lost(error) == {held.ack_id}

    async def test_a_negative_deadline_is_refused(self, pubsub: Pubsub) -> None:
        """A negative deadline is refused."""
        await pubsub.create_calls()
        await pubsub.publish()
        [held] = await pubsub.pull()
        with pytest.raises(exceptions.InvalidArgument, match="negative"):
            await pubsub.extend(held.ack_id, seconds=-1)
        await pubsub.acknowledge(held.ack_id)

    async def test_one_request_renews_500_leases(self, pubsub: Pubsub) -> None:
        """One request renews five hundred leases. And one error names all five hundred when they are lost."""
        await pubsub.create_calls()
        messages = [PubsubMessage(data=b"%d" % number) for number in range(500)]
        await pubsub.topics.publish(topic=pubsub.topic(), messages=messages, **ONCE)
        ack_ids = [it.ack_id for it in await pubsub.pull_all(500)]
        await pubsub.extend(*ack_ids, seconds=60)
        await pubsub.acknowledge(*ack_ids)
        with pytest.raises(exceptions.InvalidArgument) as error:
            await pubsub.extend(*ack_ids, seconds=60)
        assert lost(error) == set(ack_ids)


class TestDeadLetters:
    async def test_attempts_need_a_dead_letter_policy(self, pubsub: Pubsub) -> None:
        """Delivery attempts are counted under a dead-letter policy alone. A nack counts, an extension does not."""
        await pubsub.create_calls(dead_letter_policy=DeadLetterPolicy(dead_letter_topic=pubsub.topic()))
        await pubsub.subscribe("uncounted")
        await pubsub.publish()
        [first], [uncounted] = await pubsub.pull(), await pubsub.pull(name="uncounted")
        await pubsub.extend(first.ack_id, seconds=30)
        await pubsub.nack(first.ack_id)
        [second] = await pubsub.pull()
        assert (first.delivery_attempt, second.delivery_attempt) == (1, 2)
        assert uncounted.delivery_attempt == 0

    async def test_tried_too_often_it_is_a_dead_letter(self, pubsub: Pubsub) -> None:
        """A message that was tried too often moves to the dead-letter topic.

        After its fifth delivery, with attributes that say where it came from; its last ack id is lost.
        """
        await pubsub.create_topic("dead")
        await pubsub.subscribe("dead", topic="dead")
        policy = DeadLetterPolicy(dead_letter_topic=pubsub.topic("dead"), max_delivery_attempts=5)
        await pubsub.create_calls(dead_letter_policy=policy)
        await pubsub.publish(b"poison", surface="realtime")
        for attempt in range(1, 6):
            [held] = await pubsub.pull()
            assert held.delivery_attempt == attempt
            await pubsub.nack(held.ack_id)
        assert await pubsub.ready() == []  # Google's emulator moves the message only when somebody pulls again
        [dead] = await pubsub.pull(name="dead")
        assert dead.message.data == b"poison"
        assert dead.message.attributes["surface"] == "realtime"
        origin = {key.removeprefix("CloudPubSubDeadLetterSource"): it for key, it in dead.message.attributes.items()}
        assert origin["DeliveryCount"] == "5"
        assert origin["Subscription"] == "claims"
        assert origin["SubscriptionProject"] == pubsub.project
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", origin["TopicPublishTime"])
        with pytest.raises(exceptions.InvalidArgument) as error:
            await pubsub.acknowledge(held.ack_id)
        assert lost(error) == {held.ack_id}
