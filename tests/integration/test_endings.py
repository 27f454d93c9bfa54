"""Calls that are hard to end, or to leave alone: hang-ups that fail, decisions made twice, stores that are down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.pubsub_v1 import SubscriberAsyncClient

from sideband import Accept, Agent, Call, Incoming, Limits, Reject, Router
from sideband._rig import entries, greetings, outputs, rig
from supervisor import supervisor as under_test
from supervisor.outcomes import EndReason
from supervisor.records.store import Change, WriteResult
from tests.support.faulty_store import FaultyStore, Mode
from tests.support.polling import until
from tests.support.pubsub_servers import LONG_LEASE_SECONDS
from tests.support.rigged import SESSION, STAY, call_by_browser, crash_first, greeter, stop_first
from tests.support.stubborn import wait_stubbornly

HOUR_SECONDS = 3600


def stubborn(release: asyncio.Event) -> Callable[[], Awaitable[str]]:
    async def stubborn() -> str:
        """Never end, whoever cancels it."""
        await wait_stubbornly(release)
        return "at last"

    return stubborn


async def test_a_hang_up_outlives_its_tool() -> None:
    """A hang-up goes on when the tool that asked for it takes too long.

    OpenAI fails to hang up for longer than the tool may take.
    """
    answering = greeter()

    @answering.tool(timeout=0.5)
    async def end_call(call: Call) -> str:
        """End the call."""
        await call.hang_up()
        return "ended"

    async with rig(answering) as rigged:
        rigged.stand_in.inject({"fault": "rest", "operation": "hangup", "status": 503, "times": 4})
        call = await rigged.ring([{"wait_for": "greeting"}, {"caller": "Bye."}, {"tool": "end_call"}, STAY])
        record = await rigged.ended(call)
    assert record.end_reason is EndReason.AGENT_HUNG_UP
    assert any(entry.payload["status"] == 503 for entry in entries(call, "rest", "hangup"))


@pytest.mark.parametrize("status", [409, 400, 422])
async def test_race_of_a_crash_with_an_accept(status: int) -> None:
    """Race: an owner dies between an accept and its record; the next one serves the call, whatever its rule says."""
    answering, asked = greeter(), list[Incoming]()

    @answering.incoming
    async def decide(incoming: Incoming) -> Accept | Reject:
        asked.append(incoming)
        return Accept() if len(asked) == 1 else Reject(486)

    async with rig(answering, options={"second_decision_status": status}) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 300}, {"hang_up": True}])
        await rigged.seen(call, "rest", "accept")
        await crash_first(rigged)
        rigged.supervise(answering)
        record = await rigged.ended(call)
    assert record.end_reason is EndReason.CALLER_HUNG_UP
    assert greetings(call) == 1


def busy() -> Agent:
    """Make an agent that takes no call."""
    answering = greeter()
    answering.incoming(lambda _incoming: Reject(486))
    return answering


class TestRefusing:
    """A call that is refused is not recorded as such while it rings on."""

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("supervisor.openai.signalling.CONTROL_SECONDS", 0)
        monkeypatch.setattr("supervisor.calls.owner.PASS_ON_SECONDS", 0)

    @pytest.mark.parametrize("status", [503, 401, 429])
    @pytest.mark.parametrize(("answering", "told"), [(busy(), 486), (Router({"day": greeter()}), 404)])
    async def test_a_failed_refusal_is_passed_on(self, status: int, answering: Agent | Router, told: int) -> None:
        """A refusal that OpenAI does not take is left to the next owner."""
        async with rig(answering) as rigged:
            rigged.stand_in.inject({"fault": "rest", "operation": "reject", "status": status, "times": 2})
            call = await rigged.ring([])
            record = await rigged.ended(call)
        assert (call.state, record.end_reason, record.epoch) == ("ended", EndReason.REJECTED, 3)
        assert entries(call, "end")[0].payload["status_code"] == told

    async def test_the_last_attempt_ends_the_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The last owner that may try to refuse a call ends it, refused or not."""
        monkeypatch.setattr("supervisor.calls.owner.LAST_ATTEMPT", 3)
        async with rig(busy()) as rigged:
            rigged.stand_in.inject({"fault": "rest", "operation": "reject", "status": 503, "times": 100})
            call = await rigged.ring([])
            record = await rigged.ended(call)
        assert (record.end_reason, record.epoch) == (EndReason.UNREACHABLE, 3)
        assert entries(call, "rest", "accept") == []

    @pytest.mark.parametrize("status", [400, 422])
    @pytest.mark.parametrize(("times", "epoch", "told"), [(1, 1, 603), (2, 2, 486)])
    async def test_a_bad_sip_code_serves_nobody(self, status: int, times: int, epoch: int, told: int) -> None:
        """A call is not served because OpenAI does not take the code that it is refused with.

        It is declined with OpenAI's own default, and by the next owner if that is not taken either.
        """
        async with rig(busy()) as rigged:
            rigged.stand_in.inject({"fault": "rest", "operation": "reject", "status": status, "times": times})
            call = await rigged.ring([])
            record = await rigged.ended(call)
        assert (record.end_reason, record.epoch) == (EndReason.REJECTED, epoch)
        assert entries(call, "end")[0].payload["status_code"] == told
        assert entries(call, "rest", "accept") == []


async def test_half_an_emoji_is_replaced() -> None:
    """Half an emoji in a tool's output reaches the model as a question mark."""
    answering = greeter()

    @answering.tool(idempotent=True)
    async def note() -> str:
        """Read a note."""
        text: str = json.loads('"Great \\ud83d"')
        return text

    async with rig(answering) as rigged:
        call = await rigged.ring(
            [{"wait_for": "greeting"}, {"caller": "The note?"}, {"tool": "note"}, {"hang_up": True}]
        )
        record = await rigged.ended(call)
    assert list(outputs(call).values()) == [["Great ?"]]
    assert (record.end_reason, record.epoch) == (EndReason.CALLER_HUNG_UP, 1)


async def test_an_event_that_is_no_json_is_unsent() -> None:
    """An event that is not JSON is left out, and the call goes on."""
    answering = greeter()

    @answering.tool(idempotent=True)
    async def odd(call: Call) -> str:
        """Send something odd."""
        await call.send({"type": "session.update", "session": {"x": object()}})
        return "sent"

    async with rig(answering) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"caller": "Go."}, {"tool": "odd"}, {"hang_up": True}])
        record = await rigged.ended(call)
    assert list(outputs(call).values()) == [["sent"]]
    assert (record.end_reason, record.epoch) == (EndReason.CALLER_HUNG_UP, 1)


async def test_on_end_is_called_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_end` is called once, however often the end cannot be written.

    The store is down when the call ends, so its notice comes again and again.
    """
    store, ends = FaultyStore(), list[str]()
    monkeypatch.setattr(under_test, "open_store", lambda *_args, **_named: store)
    monkeypatch.setattr("supervisor.calls.owner.SETTLE_SECONDS", 0.2)
    monkeypatch.setattr("supervisor.calls.owner.SETTLE_AGAIN_SECONDS", 1)
    answering = greeter()

    @answering.on_end
    async def bill(call: Call) -> None:
        ends.append(call.call_id)

    async with rig(answering) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 300}, {"hang_up": True}])
        await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        store.mode = Mode.DOWN
        await until(lambda: len(entries(call, "attach")) + len(entries(call, "refused")) >= 3)
        store.mode = Mode.WELL
        await until(lambda: store.look(call.call_id).end_reason)
    assert ends == [call.call_id]


async def test_a_failing_clock_ends_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails in a call once a second, when its limits are checked, ends nothing.

    What is due in one call fails, once a second.
    """
    monkeypatch.setattr("supervisor.calls.attached.AttachedCall._check_unanswered", lambda _self, _now: 1 / 0)
    answering = greeter()
    async with rig(answering) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 2500}, {"hang_up": True}])
        record = await rigged.ended(call)
        assert not rigged.supervisors[0].task.done()
    assert (record.end_reason, record.epoch) == (EndReason.CALLER_HUNG_UP, 1)


async def test_a_failed_nack_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nack that fails is tried again: the lease is too long to be waited for.

    Pub/Sub is unavailable for a moment, just when a supervisor hands over.
    """
    failed, modify = list[str](), SubscriberAsyncClient.modify_ack_deadline

    async def unavailable_at_first(client: SubscriberAsyncClient, **request: Any) -> None:
        if request["ack_deadline_seconds"] == 0 and len(failed) < 2:
            failed.append(request["subscription"])
            raise ServiceUnavailable("try again")
        await modify(client, **request)

    monkeypatch.setattr(SubscriberAsyncClient, "modify_ack_deadline", unavailable_at_first)
    answering = greeter()
    async with rig(answering, lease_seconds=LONG_LEASE_SECONDS) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, STAY])
        heard = await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        rigged.supervise(answering)
        rigged.supervisors[0].stop.set()
        await rigged.seen(call, "attach", after=heard.sequence)
    assert len(failed) == 2


async def test_owners_share_one_duration() -> None:
    """A browser's call has one duration, however many owners it has.

    The first two owners' time is made an hour in the record; the third one alone would let the call go on for an hour.
    """
    answering = greeter(limits=Limits(max_seconds=HOUR_SECONDS))
    async with rig(answering) as rigged:
        call = await call_by_browser(rigged)
        first = await rigged.seen(call, "frame_out", "session.updated")
        rigged.supervise(answering)
        rigged.supervisors[0].stop.set()
        await rigged.seen(call, "frame_out", "session.updated", after=first.sequence)
        rigged.supervisors[1].stop.set()
        await asyncio.gather(*(supervisor.task for supervisor in rigged.supervisors))
        left = await rigged.store.read(call.call_id)
        assert left
        assert left.accepted_at
        left.accepted_at -= HOUR_SECONDS
        assert await rigged.store.write([Change.of(left)]) == [WriteResult.WRITTEN]
        rigged.supervise(answering)
        record = await rigged.ended(call)
    assert (record.end_reason, record.epoch) == (EndReason.MAX_DURATION, 3)


async def test_a_full_agent_hangs_up_a_browser() -> None:
    """A browser is hung up when its agent has no room."""
    answering = greeter(max_calls=1)
    async with rig(answering) as rigged:
        calls = [await call_by_browser(rigged) for _ in range(2)]
        await asyncio.wait(
            [asyncio.ensure_future(rigged.ended(call)) for call in calls], return_when=asyncio.FIRST_COMPLETED
        )
        records = [await rigged.store.read(call.call_id) for call in calls]
    assert [record.end_reason for record in records if record and record.end_reason] == [EndReason.REJECTED]


async def test_no_agent_hangs_up_a_browser() -> None:
    """A browser is hung up when no agent answers it."""
    async with rig(Router({"day": greeter()})) as rigged:
        call = await call_by_browser(rigged)
        record = await rigged.ended(call)
    assert (call.state, record.end_reason) == ("ended", EndReason.REJECTED)


async def test_race_of_a_tool_with_an_attach() -> None:
    """Race: the model calls a tool when one owner has left and the next has not attached; the next one notices."""
    answering = greeter()

    @answering.tool(idempotent=True)
    async def look() -> str:
        """Look."""
        return "seen"

    async with rig(answering) as rigged:
        call = await rigged.ring(
            [{"wait_for": "greeting"}, {"pause_ms": 2500}, {"caller": "Look."}, {"tool": "look"}, STAY]
        )
        await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        rigged.stand_in.inject({"fault": "upgrade", "call_id": call.call_id, "status": 503, "times": 1000})
        rigged.supervise(answering)
        rigged.supervisors[0].stop.set()
        await rigged.seen(call, "frame_lost", "response.function_call_arguments.done")
        rigged.stand_in.forget_faults()
        attached = await rigged.seen(call, "attach", after=call.log[-1].sequence)
        asked = await rigged.seen(call, "frame_in", "response.create", after=attached.sequence)
        await rigged.seen(call, "frame_out", "response.done", after=asked.sequence)
    assert len(entries(call, "frame_in", "response.create")) == 2
    assert greetings(call) == 1


async def test_a_stubborn_tool_delays_no_owner() -> None:
    """A tool that ignores its cancellation does not keep its call from the next owner.

    Neither the tool's end nor that of the lease comes before the test gives up.
    """
    answering, release = greeter(), asyncio.Event()
    answering.tool(timeout=120)(stubborn(release))

    async with rig(answering, handover_seconds=4, lease_seconds=LONG_LEASE_SECONDS) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"caller": "Go."}, {"tool": "stubborn"}, STAY])
        started = await rigged.seen(call, "frame_out", "response.done")
        rigged.supervise(answering)
        rigged.supervisors[0].stop.set()
        await rigged.seen(call, "attach", after=started.sequence)
        release.set()


async def test_a_stubborn_tool_delays_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call ends in its record, though a tool ignores its cancellation."""
    monkeypatch.setattr("supervisor.calls.attached.LAST_TOOLS_SECONDS", 0.2)
    answering, release = greeter(), asyncio.Event()
    answering.tool(timeout=120)(stubborn(release))

    async with rig(answering) as rigged:
        call = await rigged.ring(
            [{"wait_for": "greeting"}, {"caller": "Go."}, {"tool": "stubborn"}, {"hang_up": "now"}]
        )
        record = await rigged.ended(call)
        release.set()
    assert (record.end_reason, record.transcript_cut) == (EndReason.CALLER_HUNG_UP, True)


class TestTakeoverWhileTheStoreIsDown:
    """The next owner serves the call without its record, and learns later what the last one did."""

    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> FaultyStore:
        store = FaultyStore()
        monkeypatch.setattr(under_test, "open_store", lambda *_args, **_named: store)
        return store

    async def test_an_open_tool_call_is_answered_late(self, store: FaultyStore) -> None:
        """A tool call that was left open is answered when the store is back."""
        answering, started = greeter(), asyncio.Event()

        @answering.tool(timeout=60)
        async def pay() -> str:
            """Pay."""
            started.set()
            await asyncio.Event().wait()
            return "paid"

        async with rig(answering) as rigged:
            call = await rigged.ring([{"wait_for": "greeting"}, {"caller": "Pay."}, {"tool": "pay"}, STAY])
            await started.wait()
            rigged.supervisors[0].task.cancel()
            await asyncio.gather(rigged.supervisors[0].task, return_exceptions=True)
            store.mode = Mode.DOWN
            left = call.log[-1].sequence
            rigged.supervise(answering)
            attached = await rigged.seen(call, "attach", after=left)
            store.mode = Mode.WELL
            await rigged.seen(call, "frame_in", "conversation.item.create", after=attached.sequence)
        (told,) = outputs(call).values()
        assert "unknown" in told[0]

    async def test_a_late_record_greets_nobody_again(self, store: FaultyStore) -> None:
        """The caller is listened to, and not greeted again."""
        detection = {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
        answering = Agent(session={**SESSION, **detection}, greeting="Greet.", greeting_uninterruptible=True)
        async with rig(answering) as rigged:
            call = await rigged.ring([{"wait_for": "greeting"}, STAY])
            await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
            await stop_first(rigged)
            store.mode = Mode.DOWN
            left = call.log[-1].sequence
            rigged.supervise(answering)
            updated = await rigged.seen(call, "frame_in", "session.update", after=left)
            store.mode = Mode.WELL
            await until(lambda: store.look(call.call_id).epoch >= 2)
        assert updated.payload["session"]["audio"]["input"]["turn_detection"] is not None
        assert greetings(call) == 1
