"""A supervisor without one of its safeguards, for the oracle to notice: `python -m tests.chaos.broken fencing`."""

from __future__ import annotations

import sys
from typing import Any

from supervisor import claims, process
from supervisor.calls.fence import Fence, Why
from supervisor.records.handle import RecordHandle
from supervisor.records.record import JournalEntry


def without_fencing() -> None:
    """Write always, and lose no claim, not even to a later owner."""

    async def verdict(_claim: claims.Claim) -> bool:
        return True

    claims.Claim.may_write = lambda _self: True  # type: ignore[assignment,method-assign]
    claims.Claim.verdict = verdict  # type: ignore[assignment,method-assign]
    claims.Claims._fence = lambda *_args: None  # type: ignore[method-assign]
    close = Fence.close
    Fence.close = lambda fence, why: close(fence, why) if why is Why.HANDED_OVER else None  # type: ignore[assignment,method-assign]


def without_handover() -> None:
    """Stop without giving claims back: the next owner waits for the lease."""

    async def release(*_args: Any, **_options: Any) -> None:
        pass

    claims.Claims.release = release  # type: ignore[method-assign]


def without_journal() -> None:
    """Keep nothing in the journal, and say that it was kept."""

    async def flush(*_args: Any) -> bool:
        return True

    def journal(handle: RecordHandle, entry: JournalEntry) -> None:
        handle.record.journal[entry.tool_call_id] = entry

    RecordHandle.flush = flush  # type: ignore[method-assign,assignment]
    RecordHandle.journal = journal  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    {"fencing": without_fencing, "handover": without_handover, "journal": without_journal}[sys.argv[1]]()
    sys.exit(process.main())
