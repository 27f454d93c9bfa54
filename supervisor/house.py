"""What all calls of one process share."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.agent import Agent
from supervisor.claims import Claims
from supervisor.control import Control
from supervisor.records import Recorder


@dataclass(frozen=True, slots=True)
class House:
    """What all calls of one process share."""

    agent: Agent
    claims: Claims
    control: Control
    recorder: Recorder
    websocket_base_url: str
    bearer: str
    user_agent: str
