"""How holding a call can end: it is over, or another supervisor shall have it."""

from __future__ import annotations

from supervisor.records import EndReason


class CallOver(Exception):
    """The call has ended, for one named reason."""

    def __init__(self, reason: EndReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class HandOver(Exception):
    """This supervisor can't go on with the call; another may."""
