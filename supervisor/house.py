"""What all calls of one process share."""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.claims import Claims
from supervisor.control import Control
from supervisor.deciding import Seats
from supervisor.incoming import Router
from supervisor.records import Recorder


@dataclass(frozen=True, slots=True)
class House:
    """What all calls of one process share."""

    router: Router
    claims: Claims
    control: Control
    recorder: Recorder
    websocket_base_url: str
    bearer: str
    user_agent: str
    transfer_targets: tuple[str, ...] = ()
    seats: Seats = field(default_factory=Seats)
