"""The stand-in's calls: who attaches, what callers do, and how sockets go at the end."""

import json
from typing import Any

import openai
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

from tests.support.openai_stand_in import SESSION, accepted_call, attach, kinds, next_event, opened, refused_with, say


async def test_attachable_from_accept_to_end() -> None:
    """A call is attachable only from its accept to its end."""
    async with opened(attachable_after_ms=0) as (stand_in, _):
        call = await stand_in.place_call()
        assert await refused_with(stand_in, call) == 404
        call.accept(SESSION)
        async with attach(stand_in, call):
            pass
        call.hang_up()
        assert await refused_with(stand_in, call) == 404
        stand_in.options.change({"ended_attach_status": 410})
        assert await refused_with(stand_in, call) == 410


async def test_an_attach_may_come_too_early() -> None:
    """An attach may come too early."""
    async with opened(attachable_after_ms=60_000) as (stand_in, _):
        assert await refused_with(stand_in, await accepted_call(stand_in)) == 404


async def test_an_attach_is_silent() -> None:
    """An attach is silent unless told otherwise."""
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as socket:
            await say(socket, type="session.update", session={"type": "realtime"})
            assert json.loads(await socket.recv())["type"] == "session.updated"
        stand_in.options.change({"session_created_on_attach": True})
        async with attach(stand_in, call) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"


async def test_two_sockets_hear_everything() -> None:
    """Two sockets both hear everything, unless the second is refused."""
    async with opened() as (stand_in, _):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as first, attach(stand_in, call) as second:
            await say(second, type="response.create")
            assert (await next_event(first, "response.done")) == (await next_event(second, "response.done"))
            stand_in.options.change({"second_attach": "refuse", "second_attach_status": 423})
            assert await refused_with(stand_in, call) == 423


async def test_a_caller_gives_up_ringing() -> None:
    """A caller whom nobody answers gives up."""
    async with opened(ring_seconds=0.05) as (stand_in, client):
        call = await stand_in.place_call()
        assert await call.ended() == "gave_up"
        with pytest.raises(openai.NotFoundError):
            await client.realtime.calls.accept(call.call_id, **SESSION)


async def test_a_caller_may_be_gone_unnoticed() -> None:
    """A caller may be gone without anybody noticing."""
    async with opened(accept_after_caller_gone="allow") as (stand_in, client):
        call = await stand_in.place_call([{"caller": "Hello?"}])
        call.hang_up()
        await client.realtime.calls.accept(call.call_id, **SESSION)
        async with attach(stand_in, call) as socket:
            await say(socket, type="response.create")
            await next_event(socket, "output_audio_buffer.stopped")
        assert "Caller" not in kinds(call, "script")


async def test_an_ungreeted_caller_speaks_first() -> None:
    """A caller who is not greeted speaks first."""
    async with opened(hello_seconds=0.05) as (stand_in, _):
        call = await accepted_call(stand_in, {"caller": "Anybody there?"})
        async with attach(stand_in, call) as socket:
            await next_event(socket, "input_audio_buffer.speech_started")


async def test_a_call_goes_on_without_a_sideband() -> None:
    """A call goes on without a sideband, and its script after a new attach.

    What happens while nobody is attached is lost; the caller waits for the tool, and then goes on.
    """
    script: list[dict[str, Any]] = [
        {"caller": "Where is it?"},
        {"tool": "find", "call_id": "call_1"},
        {"wait_for": "tool_output"},
        {"caller": "Thanks!"},
        {"hang_up": True},
    ]
    async with opened(hello_seconds=0) as (stand_in, _):
        call = await accepted_call(stand_in, *script)
        async with attach(stand_in, call, who="first"):
            pass
        done = await stand_in.log.wait_for(
            lambda entry: entry.kind == "frame_lost" and entry.type == "rate_limits.updated"
        )
        assert done.call_id == call.call_id
        assert call.conversation
        assert call.conversation.pending_outputs == {"call_1"}
        async with attach(stand_in, call, who="second") as socket:
            output = {"type": "function_call_output", "call_id": "call_1", "output": "here"}
            await say(socket, type="conversation.item.create", item=output)
            await say(socket, type="response.create")
            assert (await next_event(socket, "response.output_audio_transcript.done"))["transcript"].endswith("here")
            assert (await next_event(socket, "response.output_audio_transcript.done"))[
                "transcript"
            ] == "You said: Thanks!"
            assert await call.ended() == "caller_hung_up"
        assert [entry.attach for entry in call.log if entry.kind == "attach"] == [1, 2]


async def test_a_caller_does_not_wait_for_ever() -> None:
    """A caller does not wait for ever for an answer."""
    script: list[dict[str, Any]] = [{"wait_for": "greeting"}, {"model": "Never said."}, {"hang_up": True}]
    async with opened(patience_seconds=0.05) as (stand_in, _):
        call = await accepted_call(stand_in, *script)
        assert await call.ended() == "caller_hung_up"
        assert kinds(call, "script") == ["impatient", "WaitFor", "skipped", "HangUp"]


async def test_a_caller_interrupts_a_function_call() -> None:
    """A caller interrupts in the middle of a function call."""
    script: list[dict[str, Any]] = [
        {"caller": "Cancel order B-1042"},
        {"tool": "cancel", "arguments": {"order_id": "B-1042"}},
        {"barge_in": "No, stop!"},
        {"model": "I have not cancelled anything."},
        {"dtmf": "1#"},
        {"event": {"type": "conversation.created", "event_id": "event_1", "conversation": {"id": "conv_1"}}},
        {"pause_ms": 1},
        {"wait_for": "response"},
        {"hang_up": True},
    ]
    async with opened(hello_seconds=0) as (stand_in, _):
        call = await accepted_call(stand_in, *script)
        async with attach(stand_in, call) as socket:
            done = await next_event(socket, "response.function_call_arguments.done")
            assert done["arguments"] not in ("", '{"order_id":"B-1042"}')
            assert (await next_event(socket, "response.done"))["response"]["status"] == "cancelled"
            await next_event(socket, "conversation.created")
            assert await call.ended() == "caller_hung_up"
        assert kinds(call, "frame_out").count("input_audio_buffer.dtmf_event_received") == 2
        assert "impatient" not in kinds(call, "script")


@pytest.mark.parametrize(("style", "raised"), [("drop", ConnectionClosedError), ("clean", ConnectionClosedOK)])
async def test_sockets_close_when_a_call_ends(style: str, raised: type[ConnectionClosed]) -> None:
    """Sockets close when a call ends."""
    async with opened(close_style=style) as (stand_in, _):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as socket:
            call.hang_up()
            with pytest.raises(raised):
                await socket.recv()


async def test_a_session_expires_in_words() -> None:
    """A session expires with the service's words, and then the socket goes."""
    async with opened(session_seconds=0.2) as (stand_in, _):
        call = await accepted_call(stand_in)
        async with attach(stand_in, call) as socket:
            error = (await next_event(socket, "error"))["error"]
            assert (error["code"], error["message"]) == (
                "session_expired",
                "Your session hit the maximum duration of 60 minutes.",
            )
            with pytest.raises(ConnectionClosedError):
                await socket.recv()
        assert await call.ended() == "session_expired"
