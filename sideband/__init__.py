"""What an agent is written with: `from sideband import Agent, Call`.

`sideband.testing` rehearses an agent without a phone. The command `sideband` runs one; `sideband new` writes a
repository to start from.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_MODULES = {
    "Accept": "supervisor.agents.incoming",
    "Agent": "supervisor.agents.agent",
    "Call": "supervisor.agents.call",
    "FromCall": "supervisor.agents.tools",
    "Incoming": "supervisor.agents.incoming",
    "Limits": "supervisor.agents.limits",
    "McpApprovalRequest": "supervisor.conversation.actions",
    "Reject": "supervisor.agents.incoming",
    "Router": "supervisor.agents.router",
    "StartupError": "supervisor.errors",
    "TransferFailed": "supervisor.agents.call",
}


if not TYPE_CHECKING:  # where types are checked, the imports above are all there is

    def __getattr__(name: str) -> object:
        """Import a name when it is first used, so that the command line starts fast and without the supervisor."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return getattr(import_module(_MODULES[name]), name)
        except ModuleNotFoundError as error:
            raise ImportError(f"agents need {error.name}: pip install 'sideband[supervisor]'") from error
