"""Whatever users' code does, it fails alone: its call goes on, and so do the others in the process."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sideband import Accept, Call, Incoming, Reject, Router
from sideband._rig import entries, greetings, outputs, rig
from supervisor.agents import user_code as under_test
from supervisor.outcomes import EndReason
from tests.support.rigged import call_by_browser, crash_first, greeter
from tests.support.stubborn import wait_stubbornly

if TYPE_CHECKING:
    from emulator.openai.calls.call import Call as PlacedCall

ASKS: list[dict[str, Any]] = [{"wait_for": "greeting"}, {"caller": "Go."}, {"tool": "lookup"}, {"hang_up": True}]
TALKS: list[dict[str, Any]] = [{"wait_for": "greeting"}, {"hang_up": True}]
STAYS: list[dict[str, Any]] = [{"wait_for": "greeting"}, {"pause_ms": 60_000}]


def refusals(call: PlacedCall) -> list[int]:
    return [entry.payload["body"]["status_code"] for entry in entries(call, "rest", "reject")]


async def wait_for_what_somebody_else_cancels() -> None:
    """Such as the refresh of a token that several share."""
    shared = asyncio.get_running_loop().create_future()
    shared.cancel()
    await shared


def leave() -> None:
    """As a command-line parser does."""
    sys.exit(3)


@pytest.mark.parametrize("does", [leave, wait_for_what_somebody_else_cancels])
async def test_a_tool_that_exits_is_answered(
    does: Callable[[], Any],
) -> None:
    """A tool that exits, or finds itself cancelled, is answered and ends nothing."""
    answering = greeter()

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
async def test_an_undecided_rule_rejects(does: Callable[[], Any]) -> None:
    """A rule that does not decide rejects the call."""
    answering = greeter()
    answering.incoming(lambda _incoming: does())
    async with rig(answering) as rigged:
        call = await rigged.ring(STAYS)
        record = await rigged.ended(call)
    assert (record.end_reason, refusals(call), record.epoch) == (EndReason.REJECTED, [503], 1)


async def test_a_hidden_async_rule_is_awaited() -> None:
    """An async rule behind a plain function is awaited."""

    async def decide(_incoming: Incoming) -> Reject:
        return Reject(603)

    answering = greeter()
    answering.incoming(lambda incoming: decide(incoming))  # noqa: PLW0108 - which is what this is about
    async with rig(answering) as rigged:
        call = await rigged.ring(STAYS)
        await rigged.ended(call)
    assert refusals(call) == [603]


async def test_a_failing_chooser_is_passed_over() -> None:
    """A chooser that fails, or names nobody, leaves the choice to the next."""
    router = Router({"shop": greeter()}, default="shop")

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


async def test_a_renamed_agent_is_replaced() -> None:
    """A call whose agent was renamed by a deploy goes on with the one that the router has now."""
    async with rig(Router({"shop": greeter()}, default="shop")) as rigged:
        call = await rigged.ring(STAYS)
        await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        rigged.supervise(Router({"store": greeter()}, default="store"))
        rigged.supervisors[0].stop.set()
        first = await rigged.seen(call, "attach")
        await rigged.seen(call, "attach", after=first.sequence)
        call.hang_up()
        record = await rigged.ended(call)
    assert (record.end_reason, record.agent, record.epoch) == (EndReason.CALLER_HUNG_UP, "store", 2)
    assert greetings(call) == 1


async def test_a_removed_agent_ends_its_call() -> None:
    """A call whose agent is gone, with no other to take it, is hung up."""
    async with rig(Router({"shop": greeter()}, default="shop")) as rigged:
        call = await rigged.ring(STAYS)
        await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        rigged.supervise(Router({"store": greeter()}))
        rigged.supervisors[0].stop.set()
        record = await rigged.ended(call)
    assert record.end_reason is EndReason.REJECTED
    assert entries(call, "rest", "hangup")


async def test_a_cancelled_handler_ends() -> None:
    """A handler that finds itself cancelled keeps no call from its end."""
    answering = greeter()

    @answering.on_end
    async def store(_call: Call) -> None:
        await wait_for_what_somebody_else_cancels()

    async with rig(answering) as rigged:
        call = await rigged.ring(TALKS)
        record = await rigged.ended(call)
    assert (record.end_reason, record.epoch) == (EndReason.CALLER_HUNG_UP, 1)


async def test_a_blocking_handler_stops_no_other() -> None:
    """A plain handler that blocks stops no other call.

    As a request to a slow back end does; the event loop turns meanwhile.
    """
    answering, loop, loop_turned = greeter(), asyncio.get_running_loop(), threading.Event()
    turned_meanwhile: list[bool] = []

    @answering.on_end
    def store(_call: Call) -> None:
        loop.call_soon_threadsafe(loop_turned.set)
        turned_meanwhile.append(loop_turned.wait(10))

    async with rig(answering) as rigged:
        await rigged.ended(await rigged.ring(TALKS))
    assert turned_meanwhile == [True]


async def test_a_stubborn_handler_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler that ignores its cancellation does not keep its call from its end."""
    monkeypatch.setattr(under_test, "CANCEL_SECONDS", 0.1)
    answering, release = greeter(), asyncio.Event()

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
async def test_a_chooser_must_return_a_name(named: Any) -> None:
    """A chooser that returns something else than a name leaves the choice to the next."""
    router = Router({"shop": greeter()}, default="shop")
    router.choose(lambda _incoming: named)
    async with rig(router) as rigged:
        call = await rigged.ring(TALKS)
        record = await rigged.ended(call)
    assert (record.end_reason, record.agent, record.epoch) == (EndReason.CALLER_HUNG_UP, "shop", 1)


async def test_wrong_results_are_not_logged() -> None:
    """What a rule or a chooser returns by mistake is not in the log. It may be a customer."""
    answering = greeter()
    answering.incoming(lambda _incoming: {"customer": "Jan de Vries"})  # type: ignore[type-var]
    router = Router({"shop": answering}, default="shop")
    router.choose(lambda _incoming: "Jan de Vries")
    with capture_logs() as logs:
        async with rig(router) as rigged:
            await rigged.ended(await rigged.ring(STAYS))
    assert {"chooser_failed", "incoming_rule_failed"} <= {line["event"] for line in logs}
    assert "Jan" not in str(logs)


async def test_on_end_hears_of_a_call_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_end` is called for a call that is given up.

    However seldom it failed: here the next owner gives up at once.
    """
    answering, told = greeter(), list[str]()
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
    async def test_a_refused_browser_is_hung_up(self, decision: Any) -> None:
        """A rule that refuses a browser's call hangs it up."""
        answering = greeter()
        answering.incoming(lambda _incoming: decision)
        async with rig(answering) as rigged:
            call = await call_by_browser(rigged, {"sub": "user-17"})
            record = await rigged.ended(call)
        assert (record.end_reason, record.attached_at) == (EndReason.REJECTED, None)
        assert [entry.type for entry in entries(call, "rest")] == ["hangup"]

    async def test_a_rule_shapes_a_browsers_call(self) -> None:
        """A rule gives a browser's call a session and a state, and is asked once."""
        answering, asked = greeter(), list[Incoming]()

        @answering.incoming
        def by_user(incoming: Incoming) -> Accept | Reject:
            asked.append(incoming)
            if len(asked) > 1:
                return Reject()
            return Accept(session={"instructions": "Speak Dutch."}, state={"user": incoming.context["sub"]})

        async with rig(answering) as rigged:
            call = await call_by_browser(rigged, {"sub": "user-17"})
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

    async def test_a_failed_hang_up_is_passed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A browser's call that could not be hung up is left to another supervisor."""
        monkeypatch.setattr("supervisor.calls.owner.PASS_ON_SECONDS", 0)
        answering = greeter()
        answering.incoming(lambda _incoming: Reject())
        async with rig(answering) as rigged:
            rigged.stand_in.inject({"fault": "rest", "operation": "hangup", "status": 403, "times": 1})
            call = await call_by_browser(rigged, {"sub": "user-17"})
            record = await rigged.ended(call)
        assert (record.end_reason, record.epoch, call.state) == (EndReason.REJECTED, 2, "ended")

    async def test_a_dead_owners_browser_is_served(self) -> None:
        """A browser's call whose owner died is served, whatever the rule says."""
        answering, asked = greeter(), asyncio.Event()

        @answering.incoming
        async def decide(_incoming: Incoming) -> Reject:
            if not asked.is_set():
                asked.set()
                await asyncio.Event().wait()
            return Reject()

        async with rig(answering) as rigged:
            call = await call_by_browser(rigged, {"sub": "user-17"})
            await asked.wait()
            await crash_first(rigged)
            rigged.supervise(answering)
            await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
            call.hang_up()
            record = await rigged.ended(call)
        assert (record.end_reason, record.epoch) == (EndReason.CALLER_HUNG_UP, 2)
