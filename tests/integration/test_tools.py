"""Tools in a call: what they answer, how often, and what the caller hears meanwhile."""

import asyncio
from typing import Any

from sideband import Agent, Call
from sideband._rig import entries, outputs, rig
from supervisor.outcomes import EndReason
from tests.support.rigged import STAY, TRANSCRIBED, agent, asked_for


async def test_a_filler_covers_a_slow_tool() -> None:
    """A filler is said while a tool takes its time."""
    answering = agent()
    filled = asyncio.Event()

    @answering.tool(filler="One moment, please.", filler_after=0.05)
    async def slow() -> str:
        await filled.wait()
        return "done"

    async with rig(answering) as rigged:
        call = await rigged.ring([{"caller": "Please."}, {"tool": "slow"}, {"hang_up": True}])
        await rigged.seen(call, "frame_in", "response.create")
        filled.set()
        await rigged.ended(call)
        assert "One moment, please." in asked_for(call)[0]
        assert list(outputs(call).values()) == [["done"]]


async def test_a_tool_called_too_often_says_so() -> None:
    """A tool that is called too often does not run, and the model is told."""
    answering = agent()

    @answering.tool(max_calls=1)
    async def once() -> str:
        return "done"

    turn: list[dict[str, Any]] = [{"caller": "Please."}, {"tool": "once"}]
    async with rig(answering) as rigged:
        call = await rigged.ring([*turn, *turn, {"hang_up": True}])
        await rigged.ended(call)
        first, second = [sent[0] for sent in outputs(call).values()]
        assert first == "done"
        assert "may not be used again" in second


async def test_impossible_tool_calls_are_answered() -> None:
    """A tool that doesn't exist and arguments that are no JSON are answered."""
    answering = agent()

    @answering.tool()
    async def look(order_id: str) -> str:
        raise AssertionError(f"never called: {order_id}")

    script: list[dict[str, Any]] = [
        {"caller": "Hm."},
        {"tools": [{"tool": "nope"}, {"tool": "look", "arguments": '{"order_id": '}]},
        {"model": "Sorry."},
        {"hang_up": True},
    ]
    async with rig(answering) as rigged:
        call = await rigged.ring(script)
        assert (await rigged.ended(call)).end_reason is EndReason.CALLER_HUNG_UP
        unknown, cut = [sent[0] for sent in outputs(call).values()]
        assert "There is no tool named nope" in unknown
        assert "Invalid JSON" in cut


async def test_hosted_tools_need_approval() -> None:
    """Hosted tools are denied unless the agent approves."""
    mcp = {"server_label": "shop", "name": "refund", "arguments": {}, "output": "ok", "approval": True}
    session = {**TRANSCRIBED, "tools": [{"type": "mcp", "server_label": "shop", "server_url": "https://mcp.test/"}]}
    for approver, expected in ((None, False), (lambda _call, request: request.name == "refund", True)):
        answering = Agent(session=session)
        if approver:
            answering.approve(approver)
        async with rig(answering) as rigged:
            call = await rigged.ring([{"caller": "Refund me."}, {"mcp": mcp}, STAY])
            created = await rigged.seen(call, "frame_in", "conversation.item.create")
            assert created.payload["item"]["type"] == "mcp_approval_response"
            assert created.payload["item"]["approve"] is expected


async def test_what_a_tool_says_comes_in_order() -> None:
    """A tool says several things, and its answer is spoken after them."""
    answering = agent()

    @answering.tool()
    async def balance(call: Call) -> str:
        for text in ("ONE", "TWO", "THREE"):
            await call.say(text)
        return "12 euro"

    async with rig(answering) as rigged:
        script: list[dict[str, Any]] = [{"caller": "My balance?"}, {"tool": "balance"}]
        replies = [{"model": text} for text in ("One.", "Two.", "Three.", "It is 12 euro.")]
        call = await rigged.ring([*script, *replies, {"hang_up": True}])
        await rigged.ended(call)
        asked = [text.rpartition(" ")[2] for text in asked_for(call)]
        assert asked == ["ONE", "TWO", "THREE", ""]


async def test_after_eight_tools_it_must_speak() -> None:
    """After eight tool calls in a row the model has to speak."""
    answering = agent()

    @answering.tool()
    async def again() -> str:
        return "more"

    rounds = [{"tool": "again"}] * 12
    async with rig(answering) as rigged:
        call = await rigged.ring([{"caller": "Go."}, *rounds, {"hang_up": True}])
        await rigged.ended(call)
        asked = [e.payload["response"].get("tool_choice") for e in entries(call, "frame_in", "response.create")]
        assert asked == [None] * 8 + ["none"]


async def test_it_goes_on_after_a_hosted_tool() -> None:
    """The model is asked to go on after a hosted tool that it leaves uncommented."""
    mcp = {"server_label": "shop", "name": "stock", "arguments": {}, "output": "3"}
    session = {**TRANSCRIBED, "tools": [{"type": "mcp", "server_label": "shop", "server_url": "https://mcp.test/"}]}
    async with rig(Agent(session=session), options={"speaks_after_mcp": False}) as rigged:
        call = await rigged.ring([{"caller": "In stock?"}, {"mcp": mcp}, {"model": "Three."}, {"hang_up": True}])
        record = await rigged.ended(call)
        assert len(entries(call, "frame_in", "response.create")) == 1
        assert record.transcript[-1].text == "Three."
