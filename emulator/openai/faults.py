"""`Fault`: something that goes wrong, and `Faults`: those that were injected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from emulator.openai.options import HttpError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Operation = Literal["accept", "reject", "refer", "hangup", "create", "client_secrets"]


class _Fault(BaseModel):
    """The call that a fault strikes, and how often."""

    model_config = ConfigDict(extra="forbid")

    call_id: str | None = None
    """The call it strikes; None: any."""
    times: int = Field(1, ge=1)
    """How often it strikes."""
    struck: int = 0
    """How often it has struck."""


class RestFault(_Fault):
    """The next REST requests fail, hang, or both."""

    fault: Literal["rest"] = "rest"
    operation: Operation | None = None
    """None: any."""
    status: HttpError | None = None
    """What is answered. None: the true answer, so that only `hang_seconds` is felt."""
    hang_seconds: float = Field(0, ge=0, le=600)
    """How long the answer takes."""
    applied: bool = False
    """Whether the request takes effect before it is answered with `status`."""


class UpgradeFault(_Fault):
    """The next attaches are refused."""

    fault: Literal["upgrade"] = "upgrade"
    status: HttpError = 503
    hang_seconds: float = Field(0, ge=0, le=600)
    """How long the refusal takes."""


class CutFault(_Fault):
    """Sockets are cut: at once, or when an event passes.

    With `on_server_event`, the event and all after it are lost; what was before arrives. With `on_client_event`, the
    event takes effect and all that it causes is lost. Without either, every socket (of the call) is cut now, what is
    on its way is lost, and `times` is not looked at.
    """

    fault: Literal["cut"] = "cut"
    on_server_event: str | None = None
    on_client_event: str | None = None
    close_code: int | None = Field(None, ge=1000, le=4999)
    """None: the connection is dropped without a close frame."""

    @property
    def at_once(self) -> bool:
        """Whether it cuts now, and waits for no event."""
        return not (self.on_server_event or self.on_client_event)


class DelayFault(_Fault):
    """The next frames to the client are held back, and those behind them wait."""

    fault: Literal["delay"] = "delay"
    delay_ms: float = Field(gt=0, le=600_000)


class WebhookFault(_Fault):
    """The next webhook deliveries are dropped for good, doubled, or late."""

    fault: Literal["webhook"] = "webhook"
    effect: Literal["drop", "duplicate", "late"]
    late_seconds: float = Field(1, ge=0, le=3600)


Fault = RestFault | UpgradeFault | CutFault | DelayFault | WebhookFault
fault_adapter: TypeAdapter[Fault] = TypeAdapter(Annotated[Fault, Field(discriminator="fault")])
"""Reads a fault from a plain dict; `fault` names its kind."""

_Kind = TypeVar("_Kind", bound=Fault)


class Faults:
    """All faults injected so far, and which of them still strike."""

    def __init__(self) -> None:
        self._injected: list[Fault] = []
        self._live: list[Fault] = []

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._injected))

    def add(self, fault: Fault) -> None:
        """Remember a fault, and let it strike unless it struck at once."""
        self._injected.append(fault)
        if not (isinstance(fault, CutFault) and fault.at_once):
            self._live.append(fault)

    def strike(
        self, kind: type[_Kind], call_id: str | None, fits: Callable[[_Kind], bool] = lambda _: True
    ) -> _Kind | None:
        """Strike with the oldest fitting fault of a kind, if there is one."""
        for fault in self._live:
            if isinstance(fault, kind) and fault.call_id in (None, call_id) and fits(fault):
                fault.struck += 1
                if fault.struck >= fault.times:
                    self._live.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Forget all faults: nothing goes wrong any more."""
        self._injected.clear()
        self._live.clear()
