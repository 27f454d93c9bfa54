"""Print what happens to calls, a line for each event.

OpenAI's side says it in the stand-in's log, function and supervisors in theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape

from emulator.openai import Entry, Log
from emulator.system import LogLine, Process


class Shown(NamedTuple):
    """What a line says: who did what, and how it looks."""

    who: str
    text: str
    style: str = ""


@dataclass
class Timeline:
    """Prints a line for each thing that happens: seconds, call, who, what."""

    console: Console
    started: float = field(default_factory=time.time)
    _numbers: dict[str, int] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _shown: set[str] = field(default_factory=set)

    def name(self, process: Process) -> None:
        """Show this process under its name instead of its id."""
        self._names[f"-{process.pid})"] = process.name

    def line(self, call_id: str | None, who: str, text: str, style: str = "") -> None:
        """Print one line."""
        number = f"call {self._numbers.setdefault(call_id, len(self._numbers) + 1)}" if call_id else ""
        seconds = time.time() - self.started
        self.console.print(
            f"[dim]{seconds:6.2f}[/] [bold]{number:7}[/] {who:13} {text}", style=style, highlight=False, soft_wrap=True
        )

    def on_log(self, process: Process, line: LogLine) -> None:
        """Print what a process logs of calls, and its errors."""
        match line.get("message"):
            case "Published a call":
                self.line(line["call_id"], process.name, "signature good; notice published to Pub/Sub")
            case "claimed":
                again = "" if line["delivery_attempt"] <= 1 else f" (delivery {line['delivery_attempt']})"
                self.line(line["call_id"], process.name, f"claimed{again}", "cyan")
            case "ended":
                self.line(line["call_id"], process.name, f"settled: {line['reason']}", "cyan")
            case str(text) if line.get("severity") in {"ERROR", "CRITICAL"}:
                self.line(None, process.name, escape(text), "red")

    async def follow(self, log: Log) -> None:
        """Print what OpenAI sees, as it happens, until cancelled."""
        seen = 0
        while True:
            for entry in await log.wait_after(seen, timeout_seconds=60):
                seen = entry.sequence
                shown = _shown(entry)
                if shown and self._is_new(entry):
                    self.line(entry.call_id, self._writer(entry) or shown.who, shown.text, shown.style)

    def _writer(self, entry: Entry) -> str | None:
        """Name the process that did this, by the process id at the end of its User-Agent."""
        if entry.direction != "in":
            return None
        return next((name for ending, name in self._names.items() if entry.who.endswith(ending)), None)

    def _is_new(self, entry: Entry) -> bool:
        """Tell whether an event is sent for the first time; each attached socket gets a copy."""
        event_id = entry.payload.get("event_id") if entry.kind in {"frame_out", "frame_lost"} else None
        if event_id is None:
            return True
        new = event_id not in self._shown
        self._shown.add(event_id)
        return new


def _shown(entry: Entry) -> Shown | None:
    """Say a log entry to a person; None for what is too small to show."""
    show = _SHOWN.get((entry.kind, entry.type)) or _SHOWN.get((entry.kind, ""))
    return show(entry) if show else None


def _greeting(entry: Entry) -> Shown | None:
    return Shown("supervisor", "greets", "green") if "instructions" in entry.payload.get("response", {}) else None


def _tool_result(entry: Entry) -> Shown | None:
    item = entry.payload["item"]
    if item["type"] != "function_call_output":
        return None
    return Shown("supervisor", f"tool result {escape(item['output'])}", "yellow")


def _tool_call(entry: Entry) -> Shown:
    arguments = " ".join(entry.payload["arguments"].split())
    return Shown("model", f"calls {entry.payload['name']} {escape(arguments)}", "yellow")


def _agent_says(entry: Entry) -> Shown:
    return Shown("model", f"“{escape(entry.payload['transcript'])}”", "magenta")


def _caller_says(entry: Entry) -> Shown:
    return Shown("caller", f"“{escape(entry.payload['transcript'])}”", "blue")


_SHOWN: dict[tuple[str, str], Callable[[Entry], Shown | None]] = {
    ("placed", ""): lambda _: Shown("caller", "dials", "bold"),
    ("webhook", ""): lambda e: Shown("OpenAI", f"webhook {e.type}: {e.payload.get('status')}"),
    ("rest", ""): lambda e: Shown("supervisor", f"{e.type}: {e.payload['status']}", "green"),
    ("attach", ""): lambda _: Shown("supervisor", "sideband attached", "green"),
    ("end", ""): lambda e: Shown("OpenAI", f"the call ends: {e.type}", "bold"),
    ("frame_in", "response.create"): _greeting,
    ("frame_in", "conversation.item.create"): _tool_result,
    **{
        (kind, type_): show
        for kind in ("frame_out", "frame_lost")
        for type_, show in (
            ("response.function_call_arguments.done", _tool_call),
            ("response.output_audio_transcript.done", _agent_says),
            ("conversation.item.input_audio_transcription.completed", _caller_says),
        )
    },
}
