"""One call's life in one process: lost sockets, refusals, duplicates, ends."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.pubsub_v1.types import PubsubMessage

from emulator.pubsub.topology import clients
from function.notice import CallNotice
from sideband import Agent, Call
from sideband._rig import Rig, entries, greetings, outputs, rig
from supervisor.outcomes import EndReason
from tests.support.rigged import SESSION, STAY, agent, greeter

TALK: list[dict[str, Any]] = [{"caller": "Hello?"}, {"model": "Good morning."}]


def note_taker() -> Agent:
    """Make an agent that greets, and takes notes in the call's state."""
    answering = greeter()

    @answering.tool()
    async def note(call: Call, text: str) -> int:
        call.state.setdefault("notes", []).append(text)
        return len(call.state["notes"])

    return answering


NOTE: dict[str, Any] = {"tool": "note", "arguments": {"text": "a"}}


async def dead_letter(rigged: Rig) -> PubsubMessage:
    """Wait for a dead letter."""
    async with clients(rigged.pubsub) as (_, subscriber), asyncio.timeout(30):
        while True:
            with suppress(DeadlineExceeded):
                answer = await subscriber.pull(
                    subscription="projects/shop/subscriptions/dead", max_messages=1, timeout=5, retry=None
                )
                if answer.received_messages:
                    return answer.received_messages[0].message


@pytest.mark.parametrize("close_code", [None, 1000, 1001, 1008, 1011, 1012, 1013, 4000])
async def test_a_lost_socket_is_attached_again(close_code: int | None) -> None:
    """A socket that is lost, with whatever close code, is attached again.

    No close code tells the end of a call from the loss of a socket, so each is followed by an attach.
    """
    async with rig(note_taker()) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 400}, *TALK, NOTE, {"hang_up": True}])
        await rigged.seen(call, "frame_out", "output_audio_buffer.stopped")
        rigged.stand_in.inject({"fault": "cut", "call_id": call.call_id, "close_code": close_code})
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert call.attaches == 2
        assert greetings(call) == 1
        assert record.state == {"notes": ["a"]}
        assert record.epoch == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_refused_upgrade_is_retried(status: int) -> None:
    """An upgrade that is refused for a while is tried again."""
    async with rig(note_taker()) as rigged:
        rigged.stand_in.inject({"fault": "upgrade", "status": status, "times": 3})
        call = await rigged.ring([*TALK, {"hang_up": True}])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert [entry.type for entry in entries(call, "refused")] == [str(status)] * 3 + ["404"]
        assert record.epoch == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_forbidden_upgrade_is_passed_on(status: int) -> None:
    """An upgrade that this key may not have is left to another supervisor."""
    async with rig(note_taker(), supervisors=2) as rigged:
        rigged.stand_in.inject({"fault": "upgrade", "status": status, "times": 1})
        call = await rigged.ring([*TALK, {"hang_up": True}])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert record.epoch == 2
        assert greetings(call) == 1


@pytest.mark.parametrize("ended_status", [404, 410])
async def test_a_reattach_to_nothing_is_the_end(ended_status: int) -> None:
    """A reattach that finds no call is the end."""
    async with rig(note_taker(), options={"ended_attach_status": ended_status}) as rigged:
        call = await rigged.ring([*TALK, {"hang_up": True}])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert len(entries(call, "refused")) == 1


async def test_an_early_attach_is_retried() -> None:
    """An attach that is not possible yet is tried again."""
    async with rig(note_taker(), options={"attachable_after_ms": 700}) as rigged:
        call = await rigged.ring([*TALK, {"hang_up": True}])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert entries(call, "refused")


async def test_an_unanswered_accept_is_found() -> None:
    """An accept that was applied but not answered is found by the attach."""
    async with rig(note_taker()) as rigged:
        rigged.stand_in.inject({"fault": "rest", "operation": "accept", "status": 500, "applied": True})
        call = await rigged.ring([*TALK, {"hang_up": True}])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert [entry.payload["status"] for entry in entries(call, "rest", "accept")] == [500, 409]
        assert greetings(call) == 1


async def test_an_impossible_accept_is_rejected() -> None:
    """A call that OpenAI does not let us accept is refused instead of left ringing."""
    async with rig(note_taker()) as rigged:
        rigged.stand_in.inject({"fault": "rest", "operation": "accept", "status": 400})
        call = await rigged.ring([])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.NOT_ACCEPTED
        assert call.end_reason == "rejected"


async def test_five_notices_are_one_call() -> None:
    """The same call, announced five times, is taken once.

    Five messages under different ids, two supervisors: one accept, one owner, one greeting.
    """
    async with rig(note_taker(), supervisors=2) as rigged:
        call = await rigged.ring([{"wait_for": "greeting"}, {"pause_ms": 300}, {"hang_up": True}])
        for _ in range(4):
            await rigged.announce(call)
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert len(entries(call, "rest", "accept")) == 1
        assert call.attaches == 1
        assert greetings(call) == 1


async def test_a_hang_up_keeps_a_tools_outcome() -> None:
    """A caller who hangs up while a tool runs leaves its outcome in the record."""
    answering = Agent(session=SESSION)
    started, may_finish = asyncio.Event(), asyncio.Event()

    @answering.tool()
    async def slow() -> str:
        started.set()
        await may_finish.wait()
        return "done all the same"

    async with rig(answering) as rigged:
        call = await rigged.ring([{"caller": "Please."}, {"tool": "slow"}, STAY])
        await started.wait()
        call.hang_up()
        may_finish.set()
        record = await rigged.ended(call)
        (entry,) = record.journal.values()
        assert entry.outcome == "done all the same"
        assert record.transcript_cut
        assert [segment.text for segment in record.transcript] == []


async def test_what_was_said_is_in_the_record() -> None:
    """What was said is in the record, whole."""
    async with rig(agent()) as rigged:
        call = await rigged.ring([*TALK, {"hang_up": True}])
        record = await rigged.ended(call)
        assert {(said.role, said.text) for said in record.transcript} == {
            ("caller", "Hello?"),
            ("agent", "Good morning."),
        }
        assert not record.transcript_cut


async def test_the_session_limit_is_announced() -> None:
    """The session's limit ends the call, and the agent was told before."""
    answering = note_taker()
    told: list[str] = []

    @answering.on_expiring
    async def expiring(call: Call) -> None:
        told.append(call.call_id)

    async with rig(answering, options={"session_seconds": 3}) as rigged:
        call = await rigged.ring([STAY])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.SESSION_EXPIRED
        assert told == [call.call_id]


async def test_a_poisonous_call_is_a_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A call whose handling fails again and again is refused, and becomes a dead letter."""
    monkeypatch.setattr("supervisor.calls.owner.FAILED_AGAIN_SECONDS", 0)
    poisonous = note_taker()
    poisonous.session["model"] = object()
    async with rig(poisonous) as rigged:
        call = await rigged.ring([])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.FAILED
        assert "TypeError" in (record.last_error or "")
        assert call.end_reason == "rejected"
        dead = await dead_letter(rigged)
        assert CallNotice.parse(dead.data).call_id == call.call_id
        assert dead.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "50"


async def test_a_hang_up_is_tried_until_done() -> None:
    """A hang-up is asked for once, and tried until it succeeds."""
    answering = agent()

    @answering.tool()
    async def leave(call: Call) -> None:
        await asyncio.gather(call.hang_up(), call.hang_up())

    async with rig(answering) as rigged:
        rigged.stand_in.inject({"fault": "rest", "operation": "hangup", "status": 503, "times": 2})
        call = await rigged.ring([{"caller": "Bye."}, {"tool": "leave"}])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.AGENT_HUNG_UP
        assert [entry.payload["status"] for entry in entries(call, "rest", "hangup")] == [503, 503, 200]


async def test_an_uncertain_output_is_looked_up() -> None:
    """An output whose arrival is unknown is asked for before it is sent again.

    The socket is cut after OpenAI took the output and before it said so.
    """
    async with rig(note_taker()) as rigged:
        call = await rigged.ring([{"caller": "Note a."}, NOTE, {"model": "Noted."}, {"hang_up": True}])
        rigged.stand_in.inject({"fault": "cut", "call_id": call.call_id, "on_client_event": "conversation.item.create"})
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.CALLER_HUNG_UP
        assert [len(sent) for sent in outputs(call).values()] == [1]
        assert entries(call, "frame_in", "conversation.item.retrieve")
        assert record.state == {"notes": ["a"]}


async def test_the_record_has_words_and_cost() -> None:
    """The record holds the transcript in order, and what the call cost."""
    async with rig(agent(greeting="Say hello.")) as rigged:
        script: list[dict[str, Any]] = [
            {"caller": "One."},
            {"model": "Two."},
            {"caller": "Three."},
            {"model": "Four."},
            {"hang_up": True},
        ]
        record = await rigged.ended(await rigged.ring(script))
        said = [segment.text for segment in sorted(record.transcript, key=lambda segment: segment.order)]
        assert said[-4:] == ["One.", "Two.", "Three.", "Four."]
        assert record.cost_usd > 0
        assert record.tokens > 0
        assert record.caller == "+31201234567"
        assert record.dialled == "+31207654321"


async def test_an_accept_that_leads_nowhere() -> None:
    """An accept after which no socket can be attached is hung up, as `never_attached`.

    OpenAI said 200 to a session that it can't use; nothing can be attached to.
    """
    async with rig(agent(), options={"attachable_after_ms": 60_000}) as rigged:
        call = await rigged.ring([])
        record = await rigged.ended(call)
        assert record.end_reason is EndReason.NEVER_ATTACHED
        assert call.end_reason == "hangup"
