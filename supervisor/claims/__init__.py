"""Claims: the Pub/Sub lease of a notice is the ownership of its call.

Exactly-once delivery must be on. It makes the ack id a fencing token: using it after the lease was lost fails with
INVALID_ARGUMENT, which names the ack id in its ErrorInfo.
"""

from supervisor.claims.claim import Claim
from supervisor.claims.connection import connector
from supervisor.claims.leases import FENCE_MARGIN_SECONDS, LAST_ATTEMPT, PULL_SECONDS, Claims

__all__ = ["FENCE_MARGIN_SECONDS", "LAST_ATTEMPT", "PULL_SECONDS", "Claim", "Claims", "connector"]
