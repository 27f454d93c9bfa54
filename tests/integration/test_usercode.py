"""Whatever users' code does, it fails alone: its call goes on, and so do the others in the process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from function.notice import CallNotice
from sideband import Accept, Agent, Call, Incoming, Reject, Router
from sideband._rig import entries, greetings, outputs, rig
from supervisor.agents import user_code as under_test
from supervisor.outcomes import EndReason
from tests.support.stubborn import wait_stubbornly

if TYPE_CHECKING:
    from emulator.openai.calls.call import Call as PlacedCall
    from sideband._rig import Rig

SESSION: dict[str, Any] = {"model": "gpt-realtime-2.1"}
ASKS: list[dict[str, Any]] = [{"wait_for": "greeting"}, {"caller": "Go."}, {"tool": "lookup"}, {"hang_up": True}]
TALKS: list[dict[str, Any]] = [{"wait_for": "greeting"}, {"hang_up": True}]
STAYS: list[dict[str, Any]] = [{"wait_for": "greeting"}, {"pause_ms": 60_000}]


def agent() -> Agent:
    return Agent(session=SESSION, greeting="Greet.")


def refusals(call: PlacedCall) -> list[int]:
    return [entry.payload["body"]["status_code"] for entry in entries(call, "rest", "reject")]


async def wait_for_what_somebody_else_cancels() -> None:
    """Such as the refresh of a token that several share."""
    shared = asyncio.create_task(asyncio.sleep(60))
    shared.cancel()
    await shared


def leave() -> None:
    """As a command-line parser does."""
    sys.exit(3)


@pytest.mark.parametrize("does", [leave, wait_for_what_somebody_else_cancels])
async def test_a_tool_that_exits_or_finds_itself_cancelled_is_answered_and_ends_nothing(
    does: Callable[[], Any],
) -> None:
    answering = agent()

    @answering.tool
    async def lookup() -> None:
        """Look something up."""
        if waiting := does():
            await waiting

    async with rig(answering) as rigged:
        other = await rigged.ring(STAYS)
        await rigged.seen(other, "frame_in", "response.create")
        call = await rigged.ring(ASKS)
        record = await rigged.ended(call)
        assert not rigged.supervisors[0].task.done()
        assert other.state == "accepted"
    assert list(outputs(call).values()) == [['{"error":"The tool failed."}']]
    assert record.end_reason is EndReason.CALLER_HUNG_UP


@pytest.mark.parametrize("does", [leave, wait_for_what_somebody_else_cancels, lambda: True, lambda: Reject(200)])
async def test_a_rule_that_does_not_decide_refuses_the_call(does: Callable[[], Any]) -> None:
    answering = agent()
    answering.incoming(lambda _incoming: does())
    async with rig(answering) as rigged:
        call = await rigged.ring(STAYS)
        record = await rigged.ended(call)
    assert (record.end_reason, refusals(call), record.epoch) == (EndReason.REJECTED, [503], 1)


async def test_an_async_rule_behind_a_plain_function_is_asked() -> None:
    async def decide(_incoming: Incoming) -> Reject:
        return Reject(603)

    answering = agent()
    answering.incoming(lambda incoming: decide(incoming))  # noqa: PLW0108 - which is what this is about
    async with rig(answering) as rigged:
        call = await rigged.ring(STAYS)
        await rigged.ended(call)
    assert refusals(call) == [603]


async def test_a_chooser_that_fails_or_names_nobody_leaves_it_to_the_other_rules() -> None:
    router = Router({"shop": agent()}, default="shop")

    @router.choose
    def by_header(incoming: Incoming) -> str:
        return {"a": "shop"}[incoming.header("X-Line") or "none"]

    @router.choose
    async def by_guess(_incoming: Incoming) -> str:
        return "nobody"

    with capture_logs() as logs:
        async with rig(router) as rigged:
            call = await rigged.ring(TALKS)
            record = await rigged.ended(call)
    assert (record.end_reason, record.agent, greetings(call)) == (EndReason.CALLER_HUNG_UP, "shop", 1)
    assert [line["error"] for line in logs if line["event"] == "chooser_failed"] == [
        "it raised KeyError",
        "it returned a str that names no agent; there are shop",
    ]


async def test_a_call_whose_agent_was_renamed_by_a_deploy_goes_on_with_the_one_that_the_router_has_now() -> None:
    async with rig(Router({"shop": agent()}, default="shop")) as rigged:
        call = await rigged.ring(STAYS)
        await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        rigged.supervise(Router({"store": agent()}, default="store"))
        rigged.supervisors[0].stop.set()
        first = await rigged.seen(call, "attach")
        await rigged.seen(call, "attach", after=first.sequence)
        call.hang_up()
        record = await rigged.ended(call)
    assert (record.end_reason, record.agent, record.epoch) == (EndReason.CALLER_HUNG_UP, "store", 2)
    assert greetings(call) == 1


async def test_a_call_whose_agent_is_gone_with_no_other_to_take_it_is_hung_up() -> None:
    async with rig(Router({"shop": agent()}, default="shop")) as rigged:
        call = await rigged.ring(STAYS)
        await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        rigged.supervise(Router({"store": agent()}))
        rigged.supervisors[0].stop.set()
        record = await rigged.ended(call)
    assert record.end_reason is EndReason.REJECTED
    assert entries(call, "rest", "hangup")


async def test_a_handler_that_finds_itself_cancelled_keeps_no_call_from_its_end() -> None:
    answering = agent()

    @answering.on_end
    async def store(_call: Call) -> None:
        await wait_for_what_somebody_else_cancels()

    async with rig(answering) as rigged:
        call = await rigged.ring(TALKS)
        record = await rigged.ended(call)
    assert (record.end_reason, record.epoch) == (EndReason.CALLER_HUNG_UP, 1)


async def test_a_plain_handler_that_blocks_stops_no_other_call() -> None:
    """As a request to a slow back end does; the event loop turns meanwhile."""
    answering, loop_turned = agent(), asyncio.Event()

    @answering.on_end
    def store(_call: Call) -> None:
        deadline = time.monotonic() + 10
        while not loop_turned.is_set() and time.monotonic() < deadline:
            time.sleep(0.01)

    async with rig(answering) as rigged:
        call = await rigged.ring(TALKS)
        await rigged.seen(call, "end")
        asyncio.get_running_loop().call_later(0.5, loop_turned.set)
        await rigged.ended(call)
        assert loop_turned.is_set()


async def test_a_handler_that_ignores_its_cancellation_does_not_keep_its_call_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_test, "CANCEL_SECONDS", 0.1)
    answering, release = agent(), asyncio.Event()

    @answering.tool
    async def lookup(call: Call) -> str:
        """Look something up."""
        call.on("response.done", stubborn)
        return "done"

    async def stubborn(_event: Any) -> None:
        await wait_stubbornly(release)

    with capture_logs() as logs:
        async with rig(answering) as rigged:
            call = await rigged.ring([*ASKS[:-1], {"model": "Here it is."}, {"hang_up": True}])
            record = await rigged.ended(call)
            release.set()
    assert record.end_reason is EndReason.CALLER_HUNG_UP
    assert "ignores_cancellation" in {line["event"] for line in logs}


@pytest.mark.parametrize("named", [["shop"], {"name": "shop"}, True])
async def test_a_chooser_that_returns_no_name_leaves_it_to_the_other_rules(named: Any) -> None:
    router = Router({"shop": agent()}, default="shop")
    router.choose(lambda _incoming: named)
    async with rig(router) as rigged:
        call = await rigged.ring(TALKS)
        record = await rigged.ended(call)
    assert (record.end_reason, record.agent, record.epoch) == (EndReason.CALLER_HUNG_UP, "shop", 1)


async def test_what_a_rule_or_a_chooser_returns_by_mistake_is_not_in_the_log() -> None:
    """It may be a customer."""
    answering = agent()
    answering.incoming(lambda _incoming: {"customer": "Jan de Vries"})  # type: ignore[type-var]
    router = Router({"shop": answering}, default="shop")
    router.choose(lambda _incoming: "Jan de Vries")
    with capture_logs() as logs:
        async with rig(router) as rigged:
            await rigged.ended(await rigged.ring(STAYS))
    assert {"chooser_failed", "incoming_rule_failed"} <= {line["event"] for line in logs}
    assert "Jan" not in str(logs)


async def test_on_end_is_told_of_a_call_that_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However seldom it failed: here the next owner gives up at once."""
    answering, told = agent(), list[str]()
    answering.on_end(lambda call: told.append(call.call_id))
    async with rig(answering) as rigged:
        call = await rigged.ring(STAYS)
        await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        monkeypatch.setattr("supervisor.calls.owner.MOST_FAILURES_ACCEPTED", 0)
        rigged.supervise(answering)
        rigged.supervisors[0].stop.set()
        record = await rigged.ended(call)
    assert (record.end_reason, told) == (EndReason.FAILED, [call.call_id])
    assert entries(call, "rest", "hangup")


class TestBrowsers:
    """The rule is asked about their calls too, once; such a call is not ringing, so that it is hung up if refused."""

    @pytest.mark.parametrize("decision", [Reject(603), "a mistake"])
    async def test_a_rule_that_refuses_a_browsers_call_hangs_it_up(self, decision: Any) -> None:
        answering = agent()
        answering.incoming(lambda _incoming: decision)
        async with rig(answering) as rigged:
            call = await self.call(rigged)
            record = await rigged.ended(call)
        assert (record.end_reason, record.attached_at) == (EndReason.REJECTED, None)
        assert [entry.type for entry in entries(call, "rest")] == ["hangup"]

    async def test_a_rule_gives_a_browsers_call_a_session_and_a_state_and_is_asked_once(self) -> None:
        answering, asked = agent(), list[Incoming]()

        @answering.incoming
        def by_user(incoming: Incoming) -> Accept | Reject:
            asked.append(incoming)
            if len(asked) > 1:
                return Reject()
            return Accept(session={"instructions": "Speak Dutch."}, state={"user": incoming.context["sub"]})

        async with rig(answering) as rigged:
            call = await self.call(rigged)
            updated = await rigged.seen(call, "frame_in", "session.update")
            await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
            rigged.supervise(answering)
            rigged.supervisors[0].stop.set()
            again = await rigged.seen(call, "frame_in", "session.update", after=updated.sequence)
            call.hang_up()
            record = await rigged.ended(call)
        assert [entry.payload["session"]["instructions"] for entry in (updated, again)] == ["Speak Dutch."] * 2
        assert (record.state, record.epoch) == ({"user": "user-17"}, 2)
        assert [incoming.transport for incoming in asked] == ["webrtc"]

    async def test_a_browsers_call_that_could_not_be_hung_up_is_left_to_another_supervisor(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("supervisor.calls.owner.PASS_ON_SECONDS", 0)
        answering = agent()
        answering.incoming(lambda _incoming: Reject())
        async with rig(answering) as rigged:
            rigged.stand_in.inject({"fault": "rest", "operation": "hangup", "status": 403, "times": 1})
            call = await self.call(rigged)
            record = await rigged.ended(call)
        assert (record.end_reason, record.epoch, call.state) == (EndReason.REJECTED, 2, "ended")

    async def test_a_browsers_call_whose_owner_died_is_served_whatever_the_rule_says(self) -> None:
        answering, asked = agent(), asyncio.Event()

        @answering.incoming
        async def decide(_incoming: Incoming) -> Reject:
            if not asked.is_set():
                asked.set()
                await asyncio.sleep(60)
            return Reject()

        async with rig(answering) as rigged:
            call = await self.call(rigged)
            await asked.wait()
            rigged.supervisors[0].task.cancel()
            await asyncio.gather(rigged.supervisors[0].task, return_exceptions=True)
            rigged.supervise(answering)
            await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
            call.hang_up()
            record = await rigged.ended(call)
        assert (record.end_reason, record.epoch) == (EndReason.CALLER_HUNG_UP, 2)

    async def call(self, rigged: Rig) -> PlacedCall:
        """One that the function made for a browser."""
        call = rigged.stand_in.place_webrtc_call({"type": "realtime", **SESSION}, ephemeral_key=None)
        notice = CallNotice(call_id=call.call_id, transport="webrtc", source="relay", context={"sub": "user-17"})
        await rigged.publish(notice.data())
        return call
