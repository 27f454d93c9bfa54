"""Latency profiles: how long each method takes, and what comes of it.

They can be changed while the server runs.

server.latency.change({"modify_ack_deadline": {"delay_seconds": 3}})               # applied, answered 3 s later
server.latency.change({"pull": {"delay_seconds": 0.15, "applied": "after"}})       # a slow way to the server
server.latency.change({"modify_ack_deadline": {"answered": False}})                # applied, never answered
server.latency.change({"pull": {"answered": False, "applied": "never"}})           # a black hole
server.latency.reset()                                                             # all at once again
server.kill_connections()                                                          # see `Server.kill_connections`
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Latency(BaseModel):
    """How one method answers; it holds for requests that come from now on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delay_seconds: float = Field(0, ge=0, le=3600)
    """From a request to its answer; for a pull, besides its wait for the first message."""
    applied: Literal["before", "after", "never"] = "before"
    """Whether a request takes effect before the delay, after it, or not at all. One that never does gets no answer."""
    answered: bool = True
    """Whether there is an answer; where not, the client waits until its own deadline."""

    async def arrive(self) -> None:
        """Wait until a request takes effect; for ever where it never does."""
        if self.applied == "never":
            await silence()
        if self.applied == "after":
            await asyncio.sleep(self.delay_seconds)

    async def answer(self) -> None:
        """Wait until the answer is due, for ever where there is none."""
        if self.applied == "before":
            await asyncio.sleep(self.delay_seconds)
        if not self.answered:
            await silence()


class Latencies(BaseModel):
    """How each method answers.

    All others, such as those that create topics, answer at once.
    """

    model_config = ConfigDict(extra="forbid")

    publish: Latency = Latency()
    pull: Latency = Latency()
    modify_ack_deadline: Latency = Latency()
    acknowledge: Latency = Latency()

    def change(self, changes: dict[str, dict[str, Any]]) -> None:
        """Change some methods, all or none.

        What is not named of a method goes back to its default.

        Raises:
            pydantic.ValidationError: a method or an option is unknown, or a value is bad; nothing was changed.
        """
        valid = type(self).model_validate({**self.model_dump(), **changes})
        for method in changes:
            setattr(self, method, getattr(valid, method))

    def slow_down(self, delay_seconds: float) -> None:
        """Have every method apply at once and answer after some seconds."""
        self.change({method: {"delay_seconds": delay_seconds} for method in type(self).model_fields})

    def reset(self) -> None:
        """Have every method answer at once."""
        self.slow_down(0)


async def silence() -> None:
    """Wait until the client gives up, which cancels this."""
    await asyncio.Event().wait()
