"""What goes wrong in the stand-in on demand: requests, attaches, sockets and frames."""

import asyncio
import json

import openai
import pytest
from websockets.exceptions import ConnectionClosedError

from tests.support.openai_stand_in import SESSION, accepted_call, attach, kinds, next_event, opened, refused_with, say


async def test_requests_fail_before_or_after() -> None:
    """Requests fail before or after they took effect."""
    async with opened() as (stand_in, client):
        call = await stand_in.place_call()
        stand_in.inject({"fault": "rest", "operation": "accept", "status": 500})
        applied = stand_in.inject({"fault": "rest", "operation": "accept", "status": 503, "applied": True})
        for state in ("ringing", "accepted"):
            with pytest.raises(openai.InternalServerError):
                await client.realtime.calls.accept(call.call_id, **SESSION)
            assert call.state == state
        assert applied.struck == 1
        assert [entry.payload["applied"] for entry in call.log if entry.kind == "rest"] == [False, True]


async def test_a_request_takes_effect_and_hangs() -> None:
    """A request may take effect and then hang."""
    async with opened() as (stand_in, client):
        call = await stand_in.place_call()
        stand_in.inject({"fault": "rest", "operation": "accept", "hang_seconds": 30})
        with pytest.raises(openai.APITimeoutError):
            await client.with_options(timeout=0.2).realtime.calls.accept(call.call_id, **SESSION)
        assert call.state == "accepted"


async def test_attaches_are_refused_as_asked() -> None:
    """Attaches are refused as often as asked."""
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        stand_in.inject({"fault": "upgrade", "status": 503, "times": 2, "call_id": call.call_id})
        assert [await refused_with(stand_in, call) for _ in range(2)] == [503, 503]
        async with attach(stand_in, call):
            pass
        assert kinds(call, "refused") == ["503", "503"]


@pytest.mark.parametrize("close_code", [None, 1012])
async def test_sockets_are_cut(close_code: int | None) -> None:
    """Sockets are cut, and the call goes on."""
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as socket:
            stand_in.inject({"fault": "cut", "close_code": close_code})
            with pytest.raises(ConnectionClosedError) as closed:
                await socket.recv()
            assert (closed.value.rcvd.code if closed.value.rcvd else None) == close_code
        async with attach(stand_in, call) as socket:
            await say(socket, type="response.create")
            await next_event(socket, "response.done")


async def test_a_cut_in_place_of_an_event() -> None:
    """A socket is cut in place of a server event."""
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in, {"tool": "a"})
        stand_in.inject({"fault": "cut", "on_server_event": "response.function_call_arguments.done"})
        async with attach(stand_in, call) as socket:
            await say(socket, type="response.create")
            with pytest.raises(ConnectionClosedError):
                await next_event(socket, "response.done")
        await stand_in.log.wait_for(lambda entry: entry.type == "rate_limits.updated")
        assert "response.function_call_arguments.done" in kinds(call, "frame_lost")
        assert "response.done" in kinds(call, "frame_lost")


async def test_a_cut_after_a_client_event() -> None:
    """A socket is cut after a client event took effect."""
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        stand_in.inject({"fault": "cut", "on_client_event": "conversation.item.create", "call_id": call.call_id})
        item = {"type": "function_call_output", "call_id": "call_1", "output": "x", "id": "out_1"}
        async with attach(stand_in, call) as socket:
            await say(socket, type="conversation.item.create", item=item)
            await say(socket, type="response.create")
            with pytest.raises(ConnectionClosedError):
                await socket.recv()
        assert "response.create" not in kinds(call, "frame_in")
        async with attach(stand_in, call) as socket:
            await say(socket, type="conversation.item.retrieve", item_id="out_1")
            assert (await next_event(socket, "conversation.item.retrieved"))["item"]["output"] == "x"


async def test_frames_are_held_back_in_order() -> None:
    """Frames are held back, in order."""
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        fault = stand_in.inject({"fault": "delay", "delay_ms": 50, "times": 2})
        async with attach(stand_in, call) as socket:
            started = asyncio.get_running_loop().time()
            await say(socket, type="response.create")
            assert json.loads(await socket.recv())["type"] == "response.created"
            assert json.loads(await socket.recv())["type"] == "response.output_item.added"
            assert asyncio.get_running_loop().time() - started >= 0.1
        assert fault.struck == 2
