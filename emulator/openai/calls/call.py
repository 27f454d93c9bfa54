"""One call: its state, conversation, attached sockets and tasks."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, Literal

import orjson

from emulator.openai.errors import ApiError, already_decided, not_found
from emulator.openai.faults import CutFault, DelayFault
from emulator.openai.ids import new_id
from emulator.openai.realtime.conversation import Conversation
from emulator.openai.realtime.session import check_session, start_session
from emulator.openai.script import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence

    from emulator.openai.calls.sideband_socket import SidebandSocket
    from emulator.openai.faults import Faults
    from emulator.openai.log import Entry, Kind, Log
    from emulator.openai.options import Options
    from emulator.openai.realtime.session import Session
    from emulator.openai.script import Step

State = Literal["ringing", "accepted", "ended"]
EndReason = Literal[
    "caller_hung_up", "gave_up", "hangup", "rejected", "transferred", "session_expired", "failed", "stand_in_closed"
]
_CLEAN = 1000


class Call:
    """A call at OpenAI.

    Args:
        transport: How the caller's audio travels.
        steps: What caller and model say.
        sip_headers: The INVITE's headers, in order.
        options: How this OpenAI behaves.
        faults: What goes wrong in it.
        log: Where everything that happens to the call is written.
        spawn: Starts a named task that the stand-in owns.
        ephemeral_key: The `ek_` key that made the call, if one did.
    """

    def __init__(
        self,
        transport: Literal["sip", "webrtc"],
        steps: Iterable[Step],
        *,
        sip_headers: Sequence[tuple[str, str]] = (),
        options: Options,
        faults: Faults,
        log: Log,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        ephemeral_key: str | None = None,
    ) -> None:
        self.call_id = new_id("rtc_u0")
        self.transport = transport
        self.sip_headers = list(sip_headers)
        self.placed_at = time.time()
        self.state: State = "ringing"
        self.end_reason: EndReason | None = None
        self.ended_by: str | None = None
        self.caller_gone = False
        """The caller hung up while it rang, and OpenAI has not noticed (openai-realtime.md#accept)."""
        self.log: list[Entry] = []
        """What happened to this call, oldest first."""
        self.script = Script(steps)
        self.conversation: Conversation | None = None
        self.ephemeral_key = ephemeral_key
        self.options = options
        self._faults = faults
        self._log = log
        self._spawn = spawn
        self._sockets: list[SidebandSocket] = []
        self._browsers: list[Callable[[dict[str, Any]], None]] = []
        self.reachable = True
        """Whether the caller can hear and be heard; a browser's real peer connection takes its time."""
        self._attaches = 0
        self._attachable_at = math.inf
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self.voice = asyncio.Lock()
        """Held while the caller speaks: a person says one thing at a time."""
        self.note("placed", transport, {"sip_headers": self.sip_headers, "script_steps": len(self.script)})

    # Life

    def accept(self, config: object, *, who: str = "stand-in") -> None:
        """Accept the call with a session.

        Raises:
            ApiError: the call is over or decided, or the session is not valid.
        """
        if self.state == "ended" or (self.caller_gone and self.options.accept_after_caller_gone == "refuse"):
            raise not_found()
        try:
            session = check_session(
                config, sip_accept=self.transport == "sip" and self.options.sip_vad_numbers == "refuse"
            )
        except ApiError:
            if self.options.unusable_accept == "refuse" or self.state != "ringing":
                raise
            self.end("failed", who=who)
            return
        if self.state == "accepted":
            if self.options.second_accept == "refuse":
                raise already_decided(self.options.second_decision_status)
            return
        self._begin(session, who)

    def _begin(self, session: Session, who: str) -> None:
        self.state = "accepted"
        self._attachable_at = time.monotonic() + self.options.attachable_after_ms / 1000
        expires_at = int(time.time() + self.options.session_seconds)
        self.conversation = Conversation(
            start_session(self.call_id.replace("rtc_", "sess_", 1), expires_at, session),
            self.script,
            self.options,
            send=self._send,
            perform=self._perform,
            note=lambda what, payload: self.note("note", what, payload, who=who),
        )
        self.conversation.list_mcp_tools()
        self.start(self._expire(), "expiry")
        self._changed()

    async def _expire(self) -> None:
        await asyncio.sleep(self.options.session_seconds)
        if self.conversation:
            self.conversation.expire()
        self.end("session_expired")

    def reject(self, status_code: int, *, who: str) -> None:
        """Refuse a ringing call.

        Raises:
            ApiError: the call is over, or was accepted.
        """
        if self.state == "ended" or self.caller_gone:
            raise not_found()
        if self.state == "accepted":
            raise already_decided(self.options.second_decision_status)
        self.end("rejected", who=who, detail={"status_code": status_code})

    def hang_up(self, reason: Literal["caller_hung_up", "gave_up"] = "caller_hung_up") -> None:
        """Let the caller hang up, unnoticed perhaps while the call rings."""
        if self.state == "ringing" and self.options.accept_after_caller_gone == "allow":
            self.caller_gone = True
            self.note("note", "caller_gone", {"reason": reason})
        else:
            self.end(reason)

    def hang_up_by_api(self, *, who: str) -> None:
        """Hang up for the project: the call ends a little later."""
        self.note("note", "hangup", {}, who=who)
        self.end_in(self.options.close_after_hangup_ms, "hangup", who=who)

    def end_in(self, milliseconds: float, reason: EndReason, *, who: str) -> None:
        """End the call after so many real milliseconds."""
        self.start(self._end_in(milliseconds, reason, who), "end")

    async def _end_in(self, milliseconds: float, reason: EndReason, who: str) -> None:
        await asyncio.sleep(milliseconds / 1000)
        self.end(reason, who=who)

    def end(self, reason: EndReason, *, who: str = "stand-in", detail: dict[str, Any] | None = None) -> None:
        """End the call; only the first end counts."""
        if self.state == "ended":
            return
        self.state = "ended"
        self.end_reason, self.ended_by = reason, who
        self.note("end", reason, {"by": who, **(detail or {})}, who=who)
        for socket in self._sockets:
            socket.close(_CLEAN if self.options.close_style == "clean" else None)
        for task in self._tasks:
            task.cancel()
        self._changed()

    async def ended(self, timeout_seconds: float = 10) -> EndReason:
        """Wait for the call's end; returns why it ended.

        Raises:
            TimeoutError: it has not ended in time.
        """
        await self.until(lambda: self.state == "ended", timeout_seconds)
        if self.end_reason is None:
            raise TimeoutError(f"Call {self.call_id} is still {self.state} after {timeout_seconds} s.")
        return self.end_reason

    # Sockets

    @property
    def attachable(self) -> bool:
        """Whether a socket may attach now."""
        return self.state == "accepted" and time.monotonic() >= self._attachable_at

    @property
    def attached(self) -> int:
        """How many sockets are attached now."""
        return sum(socket.open for socket in self._sockets)

    @property
    def attaches(self) -> int:
        """How many sockets have attached so far."""
        return self._attaches

    def next_attach(self) -> int:
        """Count an attach; returns its number, from 1."""
        self._attaches += 1
        return self._attaches

    def attach(self, socket: SidebandSocket) -> None:
        """Send the call's events to a socket from now on."""
        self._sockets.append(socket)
        self.note("attach", "attach", {}, socket=socket)
        if self.options.session_created_on_attach and self.conversation:
            event = {"type": "session.created", "event_id": new_id("event"), "session": self.conversation.session}
            self._send_to(socket, event, orjson.dumps(event))
        self._changed()

    def detach(self, socket: SidebandSocket, code: int | None) -> None:
        """Forget a socket that was closed."""
        self._sockets.remove(socket)
        self.note("detach", "detach", {"close_code": code}, socket=socket)
        self._changed()

    def receive(self, socket: SidebandSocket, frame: str | bytes) -> None:
        """Act on a client's frame, unless its socket was cut."""
        if not socket.open:
            return
        try:
            event = orjson.loads(frame)
        except orjson.JSONDecodeError:
            event = None
        kind = str(event.get("type")) if isinstance(event, dict) else "not JSON"
        self.note("frame_in", kind, event if isinstance(event, dict) else {"frame": str(frame)}, socket=socket)
        if self.state == "ended" or self.conversation is None:
            return
        if fault := self._faults.strike(CutFault, self.call_id, lambda fault: fault.on_client_event == kind):
            self.cut(fault.close_code, lose_frames=False)
        self.conversation.receive(event)
        self._changed()

    def attach_browser(self, send: Callable[[dict[str, Any]], None]) -> None:
        """Send the call's events to a browser, too."""
        self._browsers.append(send)
        self.reachable = True
        self._changed()

    def receive_from_browser(self, frame: str | bytes) -> None:
        """Act on an event from the browser's data channel."""
        self.note("frame_in", "from browser", {"frame": str(frame)}, who="browser")
        if self.state != "ended" and self.conversation:
            self.conversation.receive(orjson.loads(frame))
            self._changed()

    def cut(self, close_code: int | None, *, lose_frames: bool) -> None:
        """Cut every socket; the call goes on.

        Args:
            close_code: The close frame's; None: there is none.
            lose_frames: Whether frames that were sent and have not arrived are lost, where there is no close frame.
        """
        self.note("fault", "cut", {"close_code": close_code, "sockets": [socket.number for socket in self._sockets]})
        for socket in self._sockets:
            socket.abort() if close_code is None and lose_frames else socket.close(close_code)

    def _send(self, event: dict[str, Any]) -> None:
        if self.state == "ended":
            return
        if self._sockets and (fault := self._cut_on(event["type"])):
            self.cut(fault.close_code, lose_frames=False)
        if sockets := [socket for socket in self._sockets if socket.open]:
            frame = orjson.dumps(event)
            for socket in sockets:
                self._send_to(socket, event, frame)
        else:
            self.note("frame_lost", event["type"], event)
        for send in self._browsers:
            send(event)
        self._changed()

    def _cut_on(self, event_type: str) -> CutFault | None:
        return self._faults.strike(CutFault, self.call_id, lambda fault: fault.on_server_event == event_type)

    def _send_to(self, socket: SidebandSocket, event: dict[str, Any], frame: bytes) -> None:
        self.note("frame_out", event["type"], event, socket=socket)
        socket.send(frame)

    def frame_delay_seconds(self) -> float:
        """Say how long a fault holds back the next frame out."""
        fault = self._faults.strike(DelayFault, self.call_id)
        return fault.delay_ms / 1000 if fault else 0

    # Time

    async def until(self, holds: Callable[[], bool], timeout_seconds: float) -> bool:
        """Wait until something is true of the call; False if time runs out."""
        if holds():
            return True
        change = asyncio.get_running_loop().create_future()
        self._waiting[change] = holds
        try:
            await asyncio.wait({change}, timeout=timeout_seconds)
        finally:
            del self._waiting[change]
        return holds()

    def _changed(self) -> None:
        for change, holds in self._waiting.items():
            if not change.done() and holds():
                change.set_result(None)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task that ends with the call."""
        task = self._spawn(work, f"{name} {self.call_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _perform(self, play: Generator[float, None, None]) -> None:
        delay_ms = next(play, None)
        if delay_ms is not None:
            self.start(self._play_on(delay_ms, play), "play")

    async def _play_on(self, delay_ms: float, play: Generator[float, None, None]) -> None:
        await self.live(delay_ms)
        await self.play(play)

    async def play(self, play: Generator[float, None, None]) -> None:
        """Run a play to its end."""
        for delay_ms in play:
            await self.live(delay_ms)

    async def live(self, milliseconds: float) -> None:
        """Wait for milliseconds of life, shortened by `Options.speed`."""
        await asyncio.sleep(milliseconds / 1000 / self.options.speed)

    # The log

    def note(
        self,
        kind: Kind,
        type: str,  # noqa: A002 - the log's own word
        payload: Any,
        *,
        who: str = "stand-in",
        socket: SidebandSocket | None = None,
    ) -> None:
        """Log something that happened to this call."""
        entry = self._log.add(
            kind,
            type,
            payload,
            call_id=self.call_id,
            who=socket.who if socket else who,
            port=socket.port if socket else None,
            attach=socket.number if socket else None,
        )
        self.log.append(entry)

    def as_dict(self) -> dict[str, Any]:
        """Return the call as `GET /stand-in/calls/{id}` shows it."""
        return {
            "call_id": self.call_id,
            "transport": self.transport,
            "state": self.state,
            "end_reason": self.end_reason,
            "ended_by": self.ended_by,
            "attached": self.attached,
            "attaches": self.attaches,
            "placed_at": self.placed_at,
            "script_position": self.script.position,
            "script_steps": len(self.script),
        }
