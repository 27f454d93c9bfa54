"""`StandIn`: the calls, the keys, the options, the faults and the log of one stand-in."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from emulator.openai.api.endpoints import Endpoints
from emulator.openai.api.webhooks import ring_webhooks
from emulator.openai.calls.call import Call
from emulator.openai.calls.script import parse_script
from emulator.openai.ids import new_id
from emulator.openai.log import Log
from emulator.openai.options import CutFault, DelayFault, Fault, fault_adapter

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

    import aiohttp

    from emulator.openai.log import Kind
    from emulator.openai.options import Options
    from emulator.openai.realtime.session import Session

_Kind = TypeVar("_Kind", bound=Fault)


class StandIn:
    """A running stand-in for OpenAI. Made by `emulator.openai.serve`."""

    def __init__(
        self, options: Options, *, host: str, port: int, tasks: asyncio.TaskGroup, http: aiohttp.ClientSession
    ) -> None:
        self.options = options
        self.log = Log(keep=options.log_entries)
        self.calls: dict[str, Call] = {}
        self.faults: list[Fault] = []
        """All faults injected so far; each counts in `struck`."""
        self.endpoints = Endpoints()
        """The webhook endpoints that are managed by API."""
        self.base_url = f"http://{host}:{port}/v1"
        """What the official client takes as `base_url`."""
        self.websocket_base_url = f"ws://{host}:{port}/v1"
        """What the official client takes as `websocket_base_url`."""
        self.http = http
        self._task_group = tasks
        self._tasks: set[asyncio.Task[None]] = set()
        self._live_faults: list[Fault] = []
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
        """A caller dials the project's SIP number.

        Args:
            script: What caller and model say; see `emulator.openai.script`.
            from_number: Who calls.
            to_number: Who is called.
            headers: Further SIP headers, after From, To and Call-ID.
            webhook: Whether the project is told. None: if there is a webhook.

        Raises:
            ScriptError: the script cannot be played.
            ValueError: a webhook is wanted, and there is none.
        """
        told = bool(self.options.webhook_url or self.endpoints.listening("realtime.call.incoming"))
        if webhook and not told:
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
        self.spawn(call.ring(), f"ring {call.call_id}")
        if webhook is not False and told:
            for name, delivery in ring_webhooks(self, call):
                self.spawn(delivery, f"webhook {name} {call.call_id}")
        return call

    def place_webrtc_call(self, session: Session, *, ephemeral_key: str | None) -> Call:
        """A browser has posted its SDP offer."""
        call = self._new_call("webrtc", self.options.webrtc_script, ephemeral_key=ephemeral_key)
        call.accept(session)
        return call

    def _new_call(self, transport: Literal["sip", "webrtc"], script: Iterable[Mapping[str, Any]], **more: Any) -> Call:
        call = Call(
            transport,
            parse_script(script),
            options=self.options,
            log=self.log,
            spawn=self.spawn,
            struck_by_cut=self._struck_by_cut,
            held_back_seconds=self._held_back_seconds,
            **more,
        )
        self.calls[call.call_id] = call
        return call

    def note_request(
        self, kind: Kind, what: str, payload: Any, *, call_id: str | None, who: str, port: int | None
    ) -> None:
        """Write down a request, also one for a call that does not exist."""
        entry = self.log.add(kind, what, payload, call_id=call_id, who=who, port=port)
        if call := self.calls.get(call_id or ""):
            call.log.append(entry)

    # Keys

    def mint_secret(self, session: Session, seconds: int) -> tuple[str, int]:
        """A new ephemeral key for a session: its value, and when it expires in Unix seconds."""
        value, expires_at = new_id("ek"), int(time.time()) + seconds
        self._secrets[value] = (expires_at, session)
        return value, expires_at

    def secret_session(self, key: str | None) -> Session | None:
        """The session that an ephemeral key was minted for; None, if it is none or has expired."""
        expires_at, session = self._secrets.get(key or "", (0, None))
        return session if time.time() < expires_at else None

    def minted(self, key: str | None) -> bool:
        """Whether a key is an ephemeral one of ours, expired or not: sessions outlive their secrets."""
        return key in self._secrets

    # Faults

    def inject(self, fault: Fault | Mapping[str, Any]) -> Fault:
        """Let something go wrong: one of the `Fault` classes, or the same as a plain dict.

        The fault handed back counts in `struck` how often it has struck.

        Raises:
            pydantic.ValidationError: there is no such fault.
        """
        checked = fault_adapter.validate_python(fault)
        if isinstance(checked, CutFault) and not (checked.on_server_event or checked.on_client_event):
            for call in tuple(self.calls.values()):
                if call.attached and checked.call_id in (None, call.call_id):
                    call.cut(checked.close_code, what_is_under_way="is lost")
                    checked.struck += 1
        else:
            self._live_faults.append(checked)
        self.faults.append(checked)
        return checked

    def strike(
        self, kind: type[_Kind], call_id: str | None, fits: Callable[[_Kind], bool] = lambda _: True
    ) -> _Kind | None:
        """The oldest live fault of a kind that fits, counted as having struck."""
        for fault in self._live_faults:
            if isinstance(fault, kind) and fault.call_id in (None, call_id) and fits(fault):
                fault.struck += 1
                if fault.struck >= fault.times:
                    self._live_faults.remove(fault)
                return fault
        return None

    def forget_faults(self) -> None:
        """Nothing goes wrong any more."""
        self.faults.clear()
        self._live_faults.clear()

    def _struck_by_cut(
        self, call_id: str, when: Literal["on_server_event", "on_client_event"], event_type: str
    ) -> CutFault | None:
        return self.strike(CutFault, call_id, lambda fault: getattr(fault, when) == event_type)

    def _held_back_seconds(self, call_id: str) -> float:
        fault = self.strike(DelayFault, call_id)
        return fault.delay_ms / 1000 if fault else 0

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
