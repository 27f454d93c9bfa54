"""What all calls of one process share."""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.admission.seats import Seats
from supervisor.agents.router import Router
from supervisor.claims import Claims
from supervisor.openai.rest import RestClient
from supervisor.records.writer import RecordWriter


@dataclass(frozen=True, slots=True)
class Services:
    """What all calls of one process share."""

    router: Router
    claims: Claims
    rest: RestClient
    record_writer: RecordWriter
    websocket_base_url: str
    bearer: str
    user_agent: str
    transfer_targets: tuple[str, ...] = ()
    seats: Seats = field(default_factory=Seats)
