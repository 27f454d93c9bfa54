"""The agent, rehearsed: the caller and the model follow a script; the tools are the real ones."""

from sideband.testing import rehearse

from shop import agent


async def test_order_is_looked_up() -> None:
    """The caller learns what an order's status is; the agent hangs up after the goodbye."""
    rehearsal = await rehearse(
        agent,
        [
            {"caller": "Is my bike ready? The order is B-1042."},
            {"tool": "order_status", "arguments": {"order_id": "B-1042"}},
            {"model": "It is in the workshop, and ready on Thursday."},
            {"caller": "Thank you, goodbye."},
            {"model": "Goodbye!"},
            {"tool": "hang_up"},
        ],
    )
    assert rehearsal.tools == ["order_status", "hang_up"]
    assert "Thursday" in rehearsal.outputs[0]
    assert rehearsal.end_reason == "agent_hung_up"
