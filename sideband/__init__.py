"""What an agent is written with: `from sideband import Agent, Call`.

`sideband.testing` rehearses an agent without a phone; the command `sideband` runs one. The folder `examples` has agents
to start from.
"""

from supervisor.agents.agent import Agent
from supervisor.agents.call import Call, TransferFailed
from supervisor.agents.incoming import Accept, Incoming, Reject
from supervisor.agents.limits import Limits
from supervisor.agents.router import Router
from supervisor.agents.tools import FromCall
from supervisor.conversation.actions import McpApprovalRequest
from supervisor.errors import StartupError

__all__ = [
    "Accept",
    "Agent",
    "Call",
    "FromCall",
    "Incoming",
    "Limits",
    "McpApprovalRequest",
    "Reject",
    "Router",
    "StartupError",
    "TransferFailed",
]
