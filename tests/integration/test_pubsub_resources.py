"""Topics, subscriptions and publishing, held against the embedded Pub/Sub and against Google's emulator.

Every test runs on both, with Google's clients. Where the two differ, `test_pubsub_differences.py` says how.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from datetime import timedelta

import pytest
from google.api_core import exceptions
from google.pubsub_v1.types import DeadLetterPolicy, ListSubscriptionsRequest, PubsubMessage

from emulator.pubsub.topology import create_calls
from tests.support.pubsub_servers import ONCE, REQUEST_SECONDS, Pubsub, lost


class TestResources:
    async def test_setup_makes_all_that_is_needed(self, pubsub: Pubsub) -> None:
        """`create_calls` makes both topics and both subscriptions.

        `create_calls` makes both topics and both subscriptions, and may be run again.
        """
        for _ in range(2):
            await create_calls(
                pubsub.server.host_port,
                project=pubsub.project,
                topic="calls",
                subscription="claims",
                dead_letter_topic="calls-dead",
            )
        claims = await pubsub.subscriber.get_subscription(subscription=pubsub.subscription(), **ONCE)
        assert claims.topic == pubsub.topic()
        assert claims.enable_exactly_once_delivery
        assert claims.ack_deadline_seconds == 10
        assert claims.message_retention_duration == timedelta(hours=2)
        assert "expiration_policy" in claims
        assert not claims.expiration_policy.ttl
        assert "retry_policy" not in claims
        assert not claims.enable_message_ordering
        assert claims.dead_letter_policy == DeadLetterPolicy(
            dead_letter_topic=pubsub.topic("calls-dead"), max_delivery_attempts=50
        )
        dead = await pubsub.subscriber.get_subscription(subscription=pubsub.subscription("calls-dead"), **ONCE)
        assert dead.topic == pubsub.topic("calls-dead")

    @pytest.mark.parametrize("name", ["ab", "1ab", "goog-x", "a b c", "a/bc", "a" * 256, "ünicode"])
    async def test_bad_names_are_refused(self, pubsub: Pubsub, name: str) -> None:
        """Bad names of topics and subscriptions are refused."""
        with pytest.raises(exceptions.InvalidArgument, match="name"):
            await pubsub.create_topic(name)
        with pytest.raises(exceptions.InvalidArgument, match="name"):
            await pubsub.subscribe(name)

    async def test_what_is_unknown_is_not_found(self, pubsub: Pubsub) -> None:
        """A request about an unknown topic or subscription is NOT_FOUND."""
        for request in (
            pubsub.topics.get_topic(topic=pubsub.topic(), **ONCE),
            pubsub.topics.delete_topic(topic=pubsub.topic(), **ONCE),
            pubsub.publish(),
            pubsub.subscribe(),
            pubsub.subscriber.get_subscription(subscription=pubsub.subscription(), **ONCE),
            pubsub.subscriber.delete_subscription(subscription=pubsub.subscription(), **ONCE),
            pubsub.pull(),
            pubsub.acknowledge(f"{pubsub.subscription()}:1"),
            pubsub.nack(f"{pubsub.subscription()}:1"),
        ):
            with pytest.raises(exceptions.NotFound):
                await request

    async def test_what_exists_is_not_made_again(self, pubsub: Pubsub) -> None:
        """What exists is not made again."""
        await pubsub.create_calls()
        with pytest.raises(exceptions.AlreadyExists):
            await pubsub.create_topic()
        with pytest.raises(exceptions.AlreadyExists):
            await pubsub.subscribe()

    async def test_bad_settings_are_refused(self, pubsub: Pubsub) -> None:
        """A subscription's settings out of bounds are refused."""
        await pubsub.create_topic()
        unknown = DeadLetterPolicy(dead_letter_topic=pubsub.topic("unknown"), max_delivery_attempts=5)
        with pytest.raises(exceptions.NotFound, match="Dead letter topic"):
            await pubsub.subscribe(dead_letter_policy=unknown)
        for attempts in (4, 101):
            policy = DeadLetterPolicy(dead_letter_topic=pubsub.topic(), max_delivery_attempts=attempts)
            with pytest.raises(exceptions.OutOfRange, match=f"You passed {attempts}"):
                await pubsub.subscribe(dead_letter_policy=policy)
        for seconds in (-1, 601):
            with pytest.raises(exceptions.InvalidArgument, match="ack_deadline"):
                await pubsub.subscribe(ack_deadline_seconds=seconds)
        for retention in (timedelta(minutes=9), timedelta(days=32)):
            with pytest.raises(exceptions.InvalidArgument, match="message_retention_duration"):
                await pubsub.subscribe(message_retention_duration=retention)

    async def test_lists_come_in_pages(self, pubsub: Pubsub) -> None:
        """Lists come in pages, in the order of names."""
        await pubsub.create_topic("calls")
        await pubsub.create_topic("other")
        for name in ("one", "two", "three"):
            await pubsub.subscribe(name)
        request = ListSubscriptionsRequest(project=f"projects/{pubsub.project}", page_size=2)
        pages = (await pubsub.subscriber.list_subscriptions(request=request, **ONCE)).pages
        names = [[it.name for it in page.subscriptions] async for page in pages]
        assert names == [[pubsub.subscription("one"), pubsub.subscription("three")], [pubsub.subscription("two")]]
        topics = await pubsub.topics.list_topics(project=f"projects/{pubsub.project}", **ONCE)
        assert [it.name async for it in topics] == [pubsub.topic("calls"), pubsub.topic("other")]
        of_topic = await pubsub.topics.list_topic_subscriptions(topic=pubsub.topic("calls"), **ONCE)
        assert {it async for it in of_topic} == {pubsub.subscription(it) for it in ("one", "two", "three")}

    async def test_a_subscription_outlives_its_topic(self, pubsub: Pubsub) -> None:
        """A subscription outlives its topic, with what it holds."""
        await pubsub.create_calls()
        await pubsub.publish(b"left")
        await pubsub.topics.delete_topic(topic=pubsub.topic(), **ONCE)
        await pubsub.create_topic()
        await pubsub.publish(b"not for an orphan")
        assert [it.message.data for it in await pubsub.pull(10)] == [b"left"]
        assert await pubsub.ready() == []
        claims = await pubsub.subscriber.get_subscription(subscription=pubsub.subscription(), **ONCE)
        assert claims.topic == "_deleted-topic_"

    async def test_a_remade_subscription_is_empty(self, pubsub: Pubsub) -> None:
        """A subscription that is made again starts empty."""
        await pubsub.create_calls()
        await pubsub.publish()
        [held] = await pubsub.pull()
        await pubsub.subscriber.delete_subscription(subscription=pubsub.subscription(), **ONCE)
        await pubsub.subscribe(enable_exactly_once_delivery=True)
        assert await pubsub.ready() == []
        with pytest.raises(exceptions.InvalidArgument) as error:
            await pubsub.acknowledge(held.ack_id)
        assert lost(error) == {held.ack_id}


class TestPublish:
    async def test_every_subscription_gets_it(self, pubsub: Pubsub) -> None:
        """A message reaches every subscription that is there.

        Data, attributes and id arrive; a subscription made later, or on another topic, gets nothing.
        """
        await pubsub.create_topic()
        await pubsub.create_topic("other")
        for name in ("one", "two"):
            await pubsub.subscribe(name)
        await pubsub.subscribe("elsewhere", topic="other")
        before = time.time()
        message_id = await pubsub.publish(b'{"call_id": "rtc_1"}', surface="realtime", schema="1")
        await pubsub.subscribe("late")
        for name in ("one", "two"):
            [received] = await pubsub.pull(10, name)
            assert received.message.data == b'{"call_id": "rtc_1"}'
            assert received.message.attributes == {"surface": "realtime", "schema": "1"}
            assert received.message.message_id == message_id
            assert before - 1 < received.message.publish_time.timestamp() < time.time() + 1
        assert await pubsub.ready("elsewhere") == await pubsub.ready("late") == []

    async def test_empty_messages_are_refused(self, pubsub: Pubsub) -> None:
        """Empty requests and empty messages are refused whole."""
        await pubsub.create_calls()
        for messages in ([], [PubsubMessage()], [PubsubMessage(data=b"full"), PubsubMessage()]):
            with pytest.raises(exceptions.InvalidArgument):
                await pubsub.topics.publish(topic=pubsub.topic(), messages=messages, **ONCE)
        assert await pubsub.ready() == []

    async def test_threads_share_a_publisher(self, pubsub: Pubsub) -> None:
        """Threads can share a publisher. Each of 100 messages, published from four threads, arrives once."""
        await pubsub.create_calls()

        def publish(thread: int) -> list[str]:
            data = [b"%d-%d" % (thread, number) for number in range(25)]
            futures = [pubsub.publisher.publish(pubsub.topic(), it) for it in data]
            return [future.result(timeout=REQUEST_SECONDS) for future in futures]

        ids = await asyncio.gather(*(asyncio.to_thread(publish, thread) for thread in range(4)))
        received = await pubsub.pull_all(100)
        assert sorted(it.message.message_id for it in received) == sorted(itertools.chain(*ids))
        assert len({it.message.data for it in received}) == 100
        assert await pubsub.ready() == []

    async def test_a_publisher_survives_a_fork(self, pubsub: Pubsub) -> None:
        """A publisher works in forked workers.

        Made before the fork, as in a gunicorn arbiter, and used in both children.
        """
        await pubsub.create_calls()
        workers = """
import os, sys
from google.cloud.pubsub_v1 import PublisherClient
publisher = PublisherClient()
pids = []
for worker in (b"one", b"two"):
    pid = os.fork()
    if pid == 0:
        publisher.publish(sys.argv[1], worker).result(timeout=10)
        os._exit(0)
    pids.append(pid)
sys.exit(any([os.waitpid(pid, 0)[1] for pid in pids]))
"""
        environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", workers, pubsub.topic(), env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, stderr = await process.communicate()
        assert process.returncode == 0, stderr.decode()
        assert {it.message.data for it in await pubsub.pull_all(2)} == {b"one", b"two"}
