"""The caller of one call, acting out a script (see `emulator.openai.script`)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from emulator.openai.calls.script import BargeIn, Caller, Dtmf, HangUp, ModelStep, Pause, RawEvent, WaitFor

if TYPE_CHECKING:
    from emulator.openai.calls.call import Call
    from emulator.openai.calls.script import Step
    from emulator.openai.realtime.conversation import Conversation

_MS_BETWEEN_KEYS = 150


async def run_script(call: Call, conversation: Conversation) -> None:
    """Act out the call's script, then stay on the line in silence."""
    await call.until(lambda: call.reachable, call.options.patience_seconds)
    while (step := call.script.due) is not None:
        if isinstance(step, ModelStep):
            await _leave_to_model(call)
        else:
            await _wait_for_moment(call, conversation, step)
            call.script.advance()
            call.note("script", type(step).__name__, step.model_dump(exclude_defaults=True))
            await _take(call, conversation, step)


async def say(call: Call, conversation: Conversation, text: str, transcription: str = "completed") -> None:
    """Speak, as soon as the caller's last words are out."""
    async with call.voice:
        await call.play(conversation.input_audio.hear(text, transcription))


async def press(call: Call, conversation: Conversation, keys: str) -> None:
    """Press keys, one after the other."""
    for key in keys:
        conversation.press(key, int(time.time()))
        await call.live(_MS_BETWEEN_KEYS)


async def _leave_to_model(call: Call) -> None:
    position = call.script.position
    if not await call.until(lambda: call.script.position != position, call.options.patience_seconds):
        call.note("script", "skipped", {"position": position, "why": "no response took this step in time"})
        call.script.advance()


async def _take(call: Call, conversation: Conversation, step: Step) -> None:
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
            pass  # WaitFor: its moment has come, and that is all


async def _wait_for_moment(call: Call, conversation: Conversation, step: Step) -> None:
    patience = call.options.patience_seconds
    match step:
        case HangUp(hang_up="now"):
            return
        case Caller():
            await _wait_for_greeting(call, conversation)
            came = await call.until(lambda: _quiet(conversation), patience)
        case HangUp():
            came = await call.until(lambda: _quiet(conversation), patience)
        case BargeIn():
            came = await call.until(lambda: _interruptible(conversation), patience)
        case WaitFor(wait_for="greeting"):
            came = await call.until(lambda: conversation.responses_ended > 0 and _silent(conversation), patience)
        case WaitFor(wait_for="tool_output"):
            came = await call.until(lambda: not conversation.pending_outputs and not conversation.active, patience)
        case WaitFor(wait_for="response"):
            came = await call.until(lambda: _answered(conversation), patience)
        case _:
            return
    if not came:
        call.note("script", "impatient", step.model_dump(exclude_defaults=True))


async def _wait_for_greeting(call: Call, conversation: Conversation) -> None:
    """A caller who is not greeted soon after somebody has answered speaks first."""
    await call.until(lambda: call.attaches > 0, call.options.patience_seconds)
    await call.until(lambda: conversation.responses_started > 0, call.options.hello_seconds)


def _silent(conversation: Conversation) -> bool:
    return conversation.active is None and not conversation.playing


def _quiet(conversation: Conversation) -> bool:
    """Nothing is being said, and no answer is on its way."""
    return _silent(conversation) and not conversation.pending_outputs and not conversation.owes_answer


def _answered(conversation: Conversation) -> bool:
    return conversation.responses_ended > 0 and not conversation.owes_answer and _silent(conversation)


def _interruptible(conversation: Conversation) -> bool:
    if conversation.active:
        return conversation.active.midway
    return bool(conversation.playing or conversation.pending_outputs)
