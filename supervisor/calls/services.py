"""What all calls of one process share, and what belongs to one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from function.notice import CallNotice
from supervisor.admission.seats import Seats
from supervisor.agents.agent import Agent
from supervisor.agents.call import CallInputs
from supervisor.agents.router import Router
from supervisor.agents.user_code import contained, name_of
from supervisor.calls.fence import Fence
from supervisor.calls.frame_writer import FrameWriter
from supervisor.calls.tasks import CallTasks
from supervisor.claims import Claim, Claims
from supervisor.conversation.realtime.conversation import Conversation
from supervisor.openai.signalling import Signalling
from supervisor.records.handle import RecordHandle
from supervisor.records.writer import RecordWriter

HANDLER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Services:
    """What all calls of one process share."""

    router: Router
    claims: Claims
    signalling: Callable[[Callable[[], bool]], Signalling]
    """Makes the signalling of one call, of what tells whether anything may be done to it."""
    record_writer: RecordWriter
    transfer_targets: tuple[str, ...] = ()
    seats: Seats = field(default_factory=Seats)


@dataclass(frozen=True, slots=True)
class CallContext:
    """What everything that acts in one call shares."""

    services: Services
    claim: Claim
    notice: CallNotice
    fence: Fence
    agent: Agent
    handle: RecordHandle
    conversation: Conversation
    writer: FrameWriter
    tasks: CallTasks = field(default_factory=CallTasks)
    inputs: CallInputs = field(default_factory=CallInputs)

    @classmethod
    def of(
        cls, services: Services, claim: Claim, fence: Fence, notice: CallNotice, *, agent: Agent, handle: RecordHandle
    ) -> CallContext:
        """Make the context of a call that is ours, as its record stands."""
        conversation = Conversation(epoch=handle.record.epoch, items=handle.record.items)
        return cls(services, claim, notice, fence, agent, handle, conversation, FrameWriter(fence))

    @property
    def signalling(self) -> Signalling:
        """The call's signalling, as far as its fence permits."""
        return self.services.signalling(self.fence.permits)

    async def call_handler(self, handler: Callable[..., Any], argument: Any) -> None:
        """Call a handler of the agent, bounded and contained."""
        await contained(
            partial(handler, argument),
            within_seconds=HANDLER_SECONDS,
            failed="handler_failed",
            timed_out="handler_timed_out",
            handler=name_of(handler),
        )
        self.handle.changed()  # the handler may have changed the agent's state
