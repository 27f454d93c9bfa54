"""The caller of one call, who follows a script."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from emulator.openai.script import BargeIn, Caller, Dtmf, HangUp, ModelStep, Pause, RawEvent, WaitFor

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator.openai.calls.call import Call
    from emulator.openai.realtime.conversation import Conversation
    from emulator.openai.script import Step

_MS_BETWEEN_KEYS = 150


async def run_caller(call: Call) -> None:
    """Ring until the call is accepted, then follow the script."""
    if not await call.until(lambda: call.state != "ringing" or call.caller_gone, call.options.ring_seconds):
        call.hang_up("gave_up")
    if call.conversation and not call.caller_gone:
        await call.until(lambda: call.reachable, call.options.patience_seconds)
        await _follow_script(call, call.conversation)


async def _follow_script(call: Call, conversation: Conversation) -> None:
    while (step := call.script.due) is not None:
        if isinstance(step, ModelStep):
            await _leave_to_model(call)
        else:
            await _wait_for_moment(call, conversation, step)
            call.script.advance()
            call.note("script", type(step).__name__, step.model_dump(exclude_defaults=True))
            await _act(call, conversation, step)


async def say(call: Call, conversation: Conversation, text: str, transcription: str = "completed") -> None:
    """Let the caller speak, once what they say already is said."""
    async with call.voice:
        await call.play(conversation.hear(text, transcription))


async def press(call: Call, conversation: Conversation, keys: str) -> None:
    """Let the caller press keys, one after the other."""
    for key in keys:
        conversation.press(key, int(time.time()))
        await call.live(_MS_BETWEEN_KEYS)


async def _leave_to_model(call: Call) -> None:
    position = call.script.position
    if not await call.until(lambda: call.script.position != position, call.options.patience_seconds):
        call.note("script", "skipped", {"position": position, "why": "no response took this step in time"})
        call.script.advance()


async def _act(call: Call, conversation: Conversation, step: Step) -> None:
    match step:
        case Caller(caller=text, transcription=transcription):
            await say(call, conversation, text, transcription)
        case BargeIn(barge_in=text):
            await say(call, conversation, text)
        case Dtmf(dtmf=keys):
            await press(call, conversation, keys)
        case Pause(pause_ms=milliseconds):
            await asyncio.sleep(milliseconds / 1000)
        case HangUp():
            call.hang_up()
        case RawEvent(event=event):
            conversation.send_raw(event)
        case _:
            pass  # WaitFor: it was waited for already


async def _wait_for_moment(call: Call, conversation: Conversation, step: Step) -> None:
    """Wait for a step's moment, as long as patience lasts."""
    if isinstance(step, Caller):
        await _wait_for_greeting(call, conversation)
    if not await call.until(_moment(conversation, step), call.options.patience_seconds):
        call.note("script", "impatient", step.model_dump(exclude_defaults=True))


def _moment(conversation: Conversation, step: Step) -> Callable[[], bool]:
    match step:
        case Caller() | HangUp(hang_up=True):
            return lambda: _quiet(conversation)
        case BargeIn():
            return lambda: _interruptible(conversation)
        case WaitFor(wait_for="greeting"):
            return lambda: conversation.responses_ended > 0 and _silent(conversation)
        case WaitFor(wait_for="tool_output"):
            return lambda: not conversation.pending_outputs and not conversation.active
        case WaitFor(wait_for="response"):
            return lambda: _answered(conversation)
        case _:
            return lambda: True


async def _wait_for_greeting(call: Call, conversation: Conversation) -> None:
    """Wait to be greeted; a caller who is not speaks first."""
    await call.until(lambda: call.attaches > 0, call.options.patience_seconds)
    await call.until(lambda: conversation.responses_started > 0, call.options.hello_seconds)


def _silent(conversation: Conversation) -> bool:
    return conversation.active is None and not conversation.playing


def _quiet(conversation: Conversation) -> bool:
    """Say whether it is silent and no answer is to come."""
    return _silent(conversation) and not conversation.pending_outputs and not conversation.owes_answer


def _answered(conversation: Conversation) -> bool:
    return conversation.responses_ended > 0 and not conversation.owes_answer and _silent(conversation)


def _interruptible(conversation: Conversation) -> bool:
    if conversation.active:
        return conversation.active.halfway
    return bool(conversation.playing or conversation.pending_outputs)
