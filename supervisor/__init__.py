"""The supervisor: claims calls and keeps each one's sideband for as long as the call lives.

What users write against is here; see `docs/agents.md` and the folder `examples`.
"""

from supervisor.agent import Agent
from supervisor.call import Call, TransferFailed
from supervisor.incoming import Accept, Incoming, Reject, Router
from supervisor.limits import Limits
from supervisor.tools import FromCall

__all__ = ["Accept", "Agent", "Call", "FromCall", "Incoming", "Limits", "Reject", "Router", "TransferFailed"]
