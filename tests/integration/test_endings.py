"""Calls that are hard to end, or to leave alone: hang-ups that fail, decisions made twice, stores that are down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.pubsub_v1 import SubscriberAsyncClient

from function.notice import CallNotice
from sideband import Accept, Agent, Call, Incoming, Limits, Reject, Router
from sideband._rig import entries, greetings, outputs, rig
from supervisor import supervisor as under_test
from supervisor.outcomes import EndReason
from tests.support.faulty_store import FaultyStore, Mode
from tests.support.stubborn import wait_stubbornly

SESSION: dict[str, Any] = {"model": "gpt-realtime-2.1"}


def agent(**settings: Any) -> Agent:
    return Agent(session=SESSION, **settings)


def stubborn(release: asyncio.Event) -> Callable[[], Awaitable[str]]:
    async def stubborn() -> str:
        """Never end, whoever cancels it."""
        await wait_stubbornly(release)
        return "at last"

    return stubborn


async def test_a_hang_up_goes_on_when_the_tool_that_asked_for_it_takes_too_long() -> None:
    """OpenAI fails to hang up for longer than the tool may take."""
    answering = agent(greeting="Greet.")

    @answering.tool(timeout=0.5)
    async def end_call(call: Call) -> str:
        """End the call."""
        await call.hang_up()
        return "ended"

    async with rig(answering) as rigged:
        rigged.stand_in.inject({"fault": "rest", "operation": "hangup", "status": 503, "times": 4})
        call = await rigged.ring(
            [{"wait_for": "greeting"}, {"caller": "Bye."}, {"tool": "end_call"}, {"pause_ms": 60_000}]
        )
        record = await rigged.ended(call)
    assert record.end_reason is EndReason.AGENT_HUNG_UP
    assert any(entry.payload["status"] == 503 for entry in entries(call, "rest", "hangup"))


@pytest.mark.parametrize("status", [409, 400, 422])
async def test_race_of_a_crash_with_the_record_of_an_accept_leaves_no_call_alone(status: int) -> None:
    """The next owner's rule says no to a call that its dead owner has accepted: it is served, not left."""
    answering, asked = agent(greeting="Greet."), list[Incoming]()

    @answering.incoming
    async def decide(incoming: Incoming) -> Accept | Reject:
        asked.append(incoming)
        return Accept() if len(asked) == 1 else Reject(486)

    async with rig(answering, options={"second_decision_status": status}) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 300}, {"hang_up": True}])
        await rigged.seen(call, "rest", "accept")
        rigged.supervisors[0].task.cancel()
        await asyncio.gather(rigged.supervisors[0].task, return_exceptions=True)
        rigged.supervise(answering)
        record = await rigged.ended(call)
    assert record.end_reason is EndReason.CALLER_HUNG_UP
    assert greetings(call) == 1


def busy() -> Agent:
    """Make an agent that takes no call."""
    answering = agent(greeting="Greet.")
    answering.incoming(lambda _incoming: Reject(486))
    return answering


class TestRefusing:
    """A call that is refused is not recorded as such while it rings on."""

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("supervisor.openai.signalling.CONTROL_SECONDS", 0)
        monkeypatch.setattr("supervisor.calls.owner.PASS_ON_SECONDS", 0)

    @pytest.mark.parametrize("status", [503, 401, 429])
    @pytest.mark.parametrize(("answering", "told"), [(busy(), 486), (Router({"day": agent()}), 404)])
    async def test_a_refusal_that_openai_does_not_take_is_left_to_the_next_owner(
        self, status: int, answering: Agent | Router, told: int
    ) -> None:
        async with rig(answering) as rigged:
            rigged.stand_in.inject({"fault": "rest", "operation": "reject", "status": status, "times": 2})
            call = await rigged.ring([])
            record = await rigged.ended(call)
        assert (call.state, record.end_reason, record.epoch) == ("ended", EndReason.REJECTED, 3)
        assert entries(call, "end")[0].payload["status_code"] == told

    async def test_the_last_that_may_try_to_refuse_a_call_ends_it_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("supervisor.calls.owner.LAST_ATTEMPT", 3)
        async with rig(busy()) as rigged:
            rigged.stand_in.inject({"fault": "rest", "operation": "reject", "status": 503, "times": 100})
            call = await rigged.ring([])
            record = await rigged.ended(call)
        assert (record.end_reason, record.epoch) == (EndReason.UNREACHABLE, 3)
        assert entries(call, "rest", "accept") == []

    @pytest.mark.parametrize("status", [400, 422])
    @pytest.mark.parametrize(("times", "epoch", "told"), [(1, 1, 603), (2, 2, 486)])
    async def test_a_call_is_not_served_because_openai_does_not_take_the_code_it_is_refused_with(
        self, status: int, times: int, epoch: int, told: int
    ) -> None:
        """It is declined with OpenAI's own default, and by the next owner if that is not taken either."""
        async with rig(busy()) as rigged:
            rigged.stand_in.inject({"fault": "rest", "operation": "reject", "status": status, "times": times})
            call = await rigged.ring([])
            record = await rigged.ended(call)
        assert (record.end_reason, record.epoch) == (EndReason.REJECTED, epoch)
        assert entries(call, "end")[0].payload["status_code"] == told
        assert entries(call, "rest", "accept") == []


async def test_half_an_emoji_in_a_tools_output_reaches_the_model_as_a_question_mark() -> None:
    answering = agent(greeting="Greet.")

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


async def test_an_event_that_is_not_json_is_left_out_and_the_call_goes_on() -> None:
    answering = agent(greeting="Greet.")

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


async def test_on_end_is_called_once_however_often_the_end_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is down when the call ends, so its notice comes again and again."""
    store, ends = FaultyStore(), list[str]()
    monkeypatch.setattr(under_test, "open_store", lambda *_args, **_named: store)
    monkeypatch.setattr("supervisor.calls.owner.SETTLE_SECONDS", 0.2)
    monkeypatch.setattr("supervisor.calls.owner.SETTLE_AGAIN_SECONDS", 1)
    answering = agent(greeting="Greet.")

    @answering.on_end
    async def bill(call: Call) -> None:
        ends.append(call.call_id)

    async with rig(answering) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 300}, {"hang_up": True}])
        await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        store.mode = Mode.DOWN
        async with asyncio.timeout(30):
            while len(entries(call, "attach")) + len(entries(call, "refused")) < 3:
                await asyncio.sleep(0.05)
            store.mode = Mode.WELL
            while not store.look(call.call_id).end_reason:
                await asyncio.sleep(0.05)
    assert ends == [call.call_id]


async def test_a_call_whose_clock_cannot_be_read_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due in one call fails, once a second."""
    monkeypatch.setattr("supervisor.calls.attached.AttachedCall._check_unanswered", lambda _self, _now: 1 / 0)
    answering = agent(greeting="Greet.")
    async with rig(answering) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 2500}, {"hang_up": True}])
        record = await rigged.ended(call)
        assert not rigged.supervisors[0].task.done()
    assert (record.end_reason, record.epoch) == (EndReason.CALLER_HUNG_UP, 1)


async def test_a_nack_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pub/Sub is unavailable for a moment, just when a supervisor hands over."""
    failed, modify = list[str](), SubscriberAsyncClient.modify_ack_deadline

    async def unavailable_at_first(client: SubscriberAsyncClient, **request: Any) -> None:
        if request["ack_deadline_seconds"] == 0 and len(failed) < 2:
            failed.append(request["subscription"])
            raise ServiceUnavailable("try again")
        await modify(client, **request)

    monkeypatch.setattr(SubscriberAsyncClient, "modify_ack_deadline", unavailable_at_first)
    answering = agent(greeting="Greet.")
    async with rig(answering) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 60_000}])
        heard = await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        rigged.supervise(answering)
        rigged.supervisors[0].stop.set()
        second = await rigged.seen(call, "attach", after=heard.sequence)
        left = await rigged.seen(call, "detach")
    assert len(failed) == 2
    assert second.monotonic_seconds - left.monotonic_seconds < 1


async def test_a_browsers_call_has_one_duration_however_many_owners_it_has() -> None:
    answering = agent(greeting="Greet.", limits=Limits(max_seconds=4))
    async with rig(answering) as rigged:
        call = rigged.stand_in.place_webrtc_call({"type": "realtime", **SESSION}, ephemeral_key=None)
        await rigged.publish(CallNotice(call_id=call.call_id, transport="webrtc", source="relay").data())
        last = await rigged.seen(call, "attach")
        began = last.monotonic_seconds
        for number in range(2):
            await rigged.seen(call, "frame_out", "session.updated", after=last.sequence)
            rigged.supervise(answering)
            rigged.supervisors[number].stop.set()
            last = await rigged.seen(call, "attach", after=last.sequence)
        record = await rigged.ended(call)
        over = await rigged.seen(call, "end")
    assert (record.end_reason, record.epoch) == (EndReason.MAX_DURATION, 3)
    assert over.monotonic_seconds - began < 4 + 4


async def test_a_browser_is_hung_up_when_its_agent_has_no_room() -> None:
    answering = agent(greeting="Greet.", max_calls=1)
    async with rig(answering) as rigged:
        calls = []
        for _ in range(2):
            call = rigged.stand_in.place_webrtc_call({"type": "realtime", **SESSION}, ephemeral_key=None)
            await rigged.publish(CallNotice(call_id=call.call_id, transport="webrtc", source="relay").data())
            calls.append(call)
        await asyncio.wait(
            [asyncio.ensure_future(rigged.ended(call)) for call in calls], return_when=asyncio.FIRST_COMPLETED
        )
        records = [await rigged.store.read(call.call_id) for call in calls]
    assert [record.end_reason for record in records if record and record.end_reason] == [EndReason.REJECTED]


async def test_a_browser_is_hung_up_when_no_agent_answers_it() -> None:
    async with rig(Router({"day": agent()})) as rigged:
        call = rigged.stand_in.place_webrtc_call({"type": "realtime", **SESSION}, ephemeral_key=None)
        await rigged.publish(CallNotice(call_id=call.call_id, transport="webrtc", source="relay").data())
        record = await rigged.ended(call)
    assert (call.state, record.end_reason) == ("ended", EndReason.REJECTED)


async def test_race_of_a_tool_call_with_a_slow_attach_is_noticed_by_the_next_owner() -> None:
    """The model calls a tool when the last owner has left, and the next is claimed but not attached yet."""
    answering = agent(greeting="Greet.")

    @answering.tool(idempotent=True)
    async def look() -> str:
        """Look."""
        return "seen"

    async with rig(answering) as rigged:
        call = await rigged.ring(
            [{"wait_for": "greeting"}, {"pause_ms": 2500}, {"caller": "Look."}, {"tool": "look"}, {"pause_ms": 60_000}]
        )
        await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        rigged.stand_in.inject({"fault": "upgrade", "call_id": call.call_id, "status": 503, "times": 1000})
        rigged.supervise(answering)
        rigged.supervisors[0].stop.set()
        await rigged.seen(call, "frame_lost", "response.function_call_arguments.done")
        rigged.stand_in.forget_faults()
        attached = await rigged.seen(call, "attach", after=call.log[-1].sequence)
        asked = await rigged.seen(call, "frame_in", "response.create", after=attached.sequence)
    assert asked.monotonic_seconds - attached.monotonic_seconds < 6


async def test_a_tool_that_ignores_its_cancellation_does_not_keep_its_call_from_the_next_owner() -> None:
    answering, release = agent(greeting="Greet."), asyncio.Event()
    answering.tool(timeout=120)(stubborn(release))

    async with rig(answering, handover_seconds=4) as rigged:
        call = await rigged.ring(
            [{"wait_for": "greeting"}, {"caller": "Go."}, {"tool": "stubborn"}, {"pause_ms": 60_000}]
        )
        started = await rigged.seen(call, "frame_out", "response.done")
        rigged.supervise(answering)
        rigged.supervisors[0].stop.set()
        stopped = call.log[-1]
        second = await rigged.seen(call, "attach", after=started.sequence)
        release.set()
    assert second.monotonic_seconds - stopped.monotonic_seconds < 4 + 2


async def test_a_call_ends_in_its_record_though_a_tool_ignores_its_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("supervisor.calls.attached.LAST_TOOLS_SECONDS", 0.2)
    answering, release = agent(greeting="Greet."), asyncio.Event()
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

    async def test_a_tool_call_that_was_left_open_is_answered_when_the_store_is_back(self, store: FaultyStore) -> None:
        answering, started = agent(greeting="Greet."), asyncio.Event()

        @answering.tool(timeout=60)
        async def pay() -> str:
            """Pay."""
            started.set()
            await asyncio.sleep(50)
            return "paid"

        async with rig(answering) as rigged:
            call = await rigged.ring(
                [{"wait_for": "greeting"}, {"caller": "Pay."}, {"tool": "pay"}, {"pause_ms": 60_000}]
            )
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

    async def test_the_caller_is_listened_to_and_not_greeted_again(self, store: FaultyStore) -> None:
        detection = {"audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
        answering = Agent(session={**SESSION, **detection}, greeting="Greet.", greeting_uninterruptible=True)
        async with rig(answering) as rigged:
            call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 60_000}])
            await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
            rigged.supervisors[0].stop.set()
            await rigged.supervisors[0].task
            store.mode = Mode.DOWN
            left = call.log[-1].sequence
            rigged.supervise(answering)
            updated = await rigged.seen(call, "frame_in", "session.update", after=left)
            store.mode = Mode.WELL
            async with asyncio.timeout(20):
                while store.look(call.call_id).epoch < 2:
                    await asyncio.sleep(0.05)
        assert updated.payload["session"]["audio"]["input"]["turn_detection"] is not None
        assert greetings(call) == 1
