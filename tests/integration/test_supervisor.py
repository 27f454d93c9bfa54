"""A supervisor and the calls in its hands: what it logs of them, and that it keeps nothing that nobody needs."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from google.api_core.exceptions import NotFound, PermissionDenied, ServiceUnavailable
from google.pubsub_v1 import SubscriberAsyncClient
from google.pubsub_v1.types import PullRequest, ReceivedMessage
from structlog.contextvars import merge_contextvars
from structlog.processors import TimeStamper
from structlog.testing import capture_logs
from structlog.typing import EventDict

from emulator.pubsub.topology import clients, create_calls
from sideband import Call, Limits
from sideband import _rig as rigging
from sideband._rig import Rig, rig
from supervisor import supervisor as under_test
from supervisor.calls.owner import CallOwner
from supervisor.claims import Claim
from supervisor.outcomes import EndReason
from supervisor.supervisor import Supervisor
from tests.support.polling import until
from tests.support.rigged import STAY, crash_first, greeter, stop_first


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with capture_logs(processors=[merge_contextvars, TimeStamper(fmt=None, key="unix_seconds")]) as captured:
        yield captured


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Supervisor]:
    """The supervisors that were made."""
    supervisors: list[Supervisor] = []

    class Seen(Supervisor):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            supervisors.append(self)

    monkeypatch.setattr(under_test, "Supervisor", Seen)
    return supervisors


async def logged(lines: list[EventDict], event: str, times: int = 1) -> EventDict:
    """Wait for a line, and give the last one."""

    def found() -> list[EventDict]:
        return [line for line in lines if line["event"] == event]

    await until(lambda: len(found()) >= times)
    return found()[-1]


async def test_limits_are_logged_with_the_call(lines: list[EventDict]) -> None:
    """What a limit causes is logged with the call's id and trace."""
    answering = greeter(limits=Limits(max_seconds=2, goodbye="Goodbye."))

    @answering.on_expiring
    async def soon(call: Call) -> None:
        raise ValueError(call.call_id)

    async with rig(answering, options={"session_seconds": 100}) as rigged:
        call = await rigged.ring([STAY])
        await rigged.ended(call)
    for event in ("handler_failed", "limit_reached"):
        line = await logged(lines, event)
        assert line["call_id"] == call.call_id
        assert line["trace_id"]


async def test_hand_overs_are_logged_with_the_call(lines: list[EventDict]) -> None:
    """What a hand-over does is logged with the call's id and trace."""
    answering, began = greeter(), asyncio.Event()

    @answering.tool(idempotent=True)
    async def slow() -> str:
        """Take long."""
        began.set()
        await asyncio.Event().wait()
        return "done"

    async with rig(answering, handover_seconds=1) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"caller": "Go."}, {"tool": "slow"}, STAY])
        await began.wait()
        await stop_first(rigged)
    for event in ("tool_cancelled", "handed_over"):
        line = await logged(lines, event)
        assert line["call_id"] == call.call_id
        assert line["trace_id"]
    assert not [line for line in lines if line["event"] == "claim_left"]


async def ready(rigged: Rig) -> list[ReceivedMessage]:
    """Give the notices that nobody holds."""
    subscription = f"projects/{rigging.PROJECT}/subscriptions/claims"
    request = PullRequest(subscription=subscription, max_messages=10, return_immediately=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it is, and a test has no better way to look
        async with clients(rigged.pubsub) as (_, subscriber):
            answer = await subscriber.pull(request=request, timeout=10, retry=None)
    return list(answer.received_messages)


@pytest.mark.parametrize("how", ["is cancelled", "cancels itself", "returns"])
async def test_an_abandoned_claim_is_given_back(
    how: str, lines: list[EventDict], made: list[Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim whose call nobody holds any more is given back."""
    run, left = CallOwner.run, list[CallOwner]()

    async def leave(owner: CallOwner) -> None:
        if left:
            await run(owner)
            return
        left.append(owner)
        if how == "is cancelled":
            raise asyncio.CancelledError
        if how == "cancels itself" and (task := asyncio.current_task()):
            task.cancel()
            await asyncio.sleep(0)  # where the cancellation strikes

    monkeypatch.setattr(CallOwner, "run", leave)
    async with rig(greeter()) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"hang_up": True}])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        await logged(lines, "ended")
        state = made[0].state()
        assert (state.calls, state.leases) == (0, 0)
        await stop_first(rigged)
    (line,) = [line for line in lines if line["event"] == "claim_left"]
    assert (line["log_level"], line["message_id"]) == ("error", left[0].claim.message_id)


async def test_a_lost_claim_names_its_call(lines: list[EventDict], made: list[Supervisor]) -> None:
    """A claim that is lost names its call as soon as its notice was read."""
    async with rig(greeter()) as rigged:
        call = await rigged.ring([STAY])
        await rigged.seen(call, "attach")
        (owner,) = made[0]._owners
        made[0]._services.claims._fence(owner.claim, "a test")
        unread = Claim(ack_id="a", message_id="9", data=b"", delivery_attempt=1)
        made[0]._services.claims._fence(unread, "a test")
    named, unnamed = (line for line in lines if line["event"] == "claim_lost")
    assert named["call_id"] == call.call_id
    assert (unnamed["message_id"], "call_id" in unnamed) == ("9", False)


async def test_a_cancelled_one_abandons_no_claim(lines: list[EventDict]) -> None:
    """A supervisor that is cancelled says of no claim that it was left."""
    async with rig(greeter()) as rigged:
        call = await rigged.ring([STAY])
        await rigged.seen(call, "attach")
        await crash_first(rigged)
    assert not [line for line in lines if line["event"] in {"claim_left", "call_failed"}]


async def test_without_dead_letters_it_is_acked(lines: list[EventDict], monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed call's notice is acked where the subscription has no dead letters."""

    async def without_dead_letters(host_port: str, **settings: Any) -> None:
        del settings["dead_letter_topic"]
        await create_calls(host_port, **settings)

    monkeypatch.setattr(rigging, "create_calls", without_dead_letters)
    monkeypatch.setattr(under_test, "FAILED_NOTICE_SECONDS", 0)
    poisonous = greeter()
    poisonous.session["model"] = object()
    async with rig(poisonous) as rigged:
        call = await rigged.ring([])
        assert (await rigged.ended(call)).end_reason is EndReason.FAILED
        line = await logged(lines, "dead_letter_dropped")
        assert (line["log_level"], line["call_id"]) == ("error", call.call_id)
        await stop_first(rigged)
        assert await ready(rigged) == []
    assert len([line for line in lines if line["event"] == "notice_dropped"]) == 1


async def test_a_failed_notice_comes_each_second(lines: list[EventDict]) -> None:
    """A failed call's notice comes once a second until it is a dead letter."""
    poisonous = greeter()
    poisonous.session["model"] = object()
    async with rig(poisonous) as rigged:
        await rigged.ended(await rigged.ring([]))
        await logged(lines, "notice_dropped", times=3)
    times = [line["unix_seconds"] for line in lines if line["event"] == "notice_dropped"]
    assert all(later - earlier > 0.9 for earlier, later in pairwise(times))


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (PermissionDenied("no"), "roles/pubsub.subscriber on projects/shop/subscriptions/claims"),
        (NotFound("no"), "make projects/shop/subscriptions/claims"),
        (ServiceUnavailable("no"), None),
    ],
    ids=["forbidden", "not there", "unavailable"],
)
async def test_a_lasting_pull_failure_is_not_ready(
    error: Exception,
    action: str | None,
    lines: list[EventDict],
    made: list[Supervisor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pulls that fail until somebody acts are errors, and the supervisor is not ready.

    It was ready before; what passes by itself does not change that.
    """
    pull = SubscriberAsyncClient.pull
    async with rig(greeter()) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"hang_up": True}])
        await rigged.ended(call)
        assert made[0].state().ready

        async def fails(*_given: Any, **_named: Any) -> None:
            raise error

        monkeypatch.setattr(SubscriberAsyncClient, "pull", fails)
        await rigged.publish(b"the pull that waits returns")
        line = await logged(lines, "pull_failed")
        assert line["log_level"] == ("error" if action else "warning")
        assert (action or "") in line.get("action", "")
        assert made[0].state().ready is (action is None)
        monkeypatch.setattr(SubscriberAsyncClient, "pull", pull)
        call = await rigged.ring([{"wait_for": "greeting"}, {"hang_up": True}])
        await rigged.ended(call)
        assert made[0].state().ready
