"""`StandIn`: a running stand-in, as tests and routes use it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Literal

from emulator.openai.calls.call import Call
from emulator.openai.calls.caller import run_caller
from emulator.openai.endpoints import CALL_INCOMING, Endpoints
from emulator.openai.faults import CutFault, Faults, fault_adapter
from emulator.openai.ids import new_id
from emulator.openai.log import Log
from emulator.openai.script import parse_script
from emulator.openai.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence

    import aiohttp

    from emulator.openai.faults import Fault
    from emulator.openai.log import Kind
    from emulator.openai.options import Options
    from emulator.openai.realtime.session import Session


class StandIn:
    """A running stand-in for OpenAI. Made by `emulator.openai.serve`."""

    def __init__(
        self, options: Options, *, host: str, port: int, tasks: asyncio.TaskGroup, http: aiohttp.ClientSession
    ) -> None:
        self.options = options
        self.log = Log(keep=options.log_entries)
        self.calls: dict[str, Call] = {}
        self.faults = Faults()
        self.endpoints = Endpoints()
        """The webhook endpoints that are managed by API."""
        self.webhooks = Webhooks(options, self.endpoints, self.faults, self.log, http)
        self.base_url = f"http://{host}:{port}/v1"
        """What the official client takes as `base_url`."""
        self.websocket_base_url = f"ws://{host}:{port}/v1"
        """What the official client takes as `websocket_base_url`."""
        self._task_group = tasks
        self._tasks: set[asyncio.Task[None]] = set()
        self._secrets: dict[str, tuple[float, Session]] = {}

    async def place_call(
        self,
        script: Iterable[Mapping[str, Any]] = (),
        *,
        from_number: str = "+31201234567",
        to_number: str = "+31207654321",
        headers: Sequence[tuple[str, str]] = (),
        webhook: bool | None = None,
    ) -> Call:
        """Let a caller dial the project's SIP number.

        Args:
            script: What caller and model say; see `emulator.openai.script`.
            from_number: Who calls.
            to_number: Who is called.
            headers: Further SIP headers, after From, To and Call-ID.
            webhook: Whether a webhook is delivered. None: if there is one.

        Raises:
            ScriptError: the script cannot be played.
            ValueError: a webhook is wanted, and there is none.
        """
        listened_to = self.webhooks.listened_to(CALL_INCOMING)
        if webhook and not listened_to:
            raise ValueError(
                "No webhook can be delivered: set Options.webhook_url or make an endpoint, or use webhook=False."
            )
        sip_headers = [
            ("From", f"sip:{from_number}@sip.example.com"),
            ("To", f"sip:{to_number}@sip.api.openai.com"),
            ("Call-ID", new_id("sip")),
            *headers,
        ]
        call = self._new_call("sip", script, sip_headers=sip_headers)
        if webhook is not False and listened_to:
            for name, delivery in self.webhooks.ring(call):
                self.spawn(delivery, f"webhook {name} {call.call_id}")
        return call

    def place_webrtc_call(self, session: Session, *, ephemeral_key: str | None) -> Call:
        """Make and accept the call of a browser."""
        call = self._new_call("webrtc", self.options.webrtc_script, ephemeral_key=ephemeral_key)
        call.accept(session)
        return call

    def _new_call(self, transport: Literal["sip", "webrtc"], script: Iterable[Mapping[str, Any]], **more: Any) -> Call:
        call = Call(
            transport,
            parse_script(script),
            options=self.options,
            faults=self.faults,
            log=self.log,
            spawn=self.spawn,
            **more,
        )
        self.calls[call.call_id] = call
        call.start(run_caller(call), "caller")
        return call

    def note_request(
        self, kind: Kind, what: str, payload: Any, *, call_id: str | None, who: str, port: int | None
    ) -> None:
        """Log a request, also one for an unknown call."""
        entry = self.log.add(kind, what, payload, call_id=call_id, who=who, port=port)
        if call := self.calls.get(call_id or ""):
            call.log.append(entry)

    # Keys

    def mint_secret(self, session: Session, seconds: int) -> tuple[str, int]:
        """Make an ephemeral key; returns it and its end in Unix seconds."""
        value, expires_at = new_id("ek"), int(time.time()) + seconds
        self._secrets[value] = (expires_at, session)
        return value, expires_at

    def secret_session(self, key: str | None) -> Session | None:
        """Find the session of an ephemeral key that has not expired."""
        expires_at, session = self._secrets.get(key or "", (0, None))
        return session if time.time() < expires_at else None

    def minted(self, key: str | None) -> bool:
        """Say whether a key is an ephemeral one, expired or not."""
        return key in self._secrets

    # Faults

    def inject(self, fault: Fault | Mapping[str, Any]) -> Fault:
        """Inject a fault: a `Fault`, or the same as a dict.

        The fault that is returned counts in `struck` how often it has struck.

        Raises:
            pydantic.ValidationError: there is no such fault.
        """
        checked = fault_adapter.validate_python(fault)
        if isinstance(checked, CutFault) and checked.at_once:
            for call in tuple(self.calls.values()):
                if call.attached and checked.call_id in (None, call.call_id):
                    call.cut(checked.close_code, lose_frames=True)
                    checked.struck += 1
        self.faults.add(checked)
        return checked

    def forget_faults(self) -> None:
        """Let nothing go wrong any more."""
        self.faults.clear()

    # Tasks

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that ends with the stand-in at the latest."""
        task = self._task_group.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """End all calls and all tasks."""
        for call in self.calls.values():
            call.end("stand_in_closed")
        for task in self._tasks:
            task.cancel()
