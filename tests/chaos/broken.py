"""A supervisor without one of its safeguards, for the oracle to notice: `python -m tests.chaos.broken fencing`."""

from __future__ import annotations

import sys
from typing import Any

from supervisor import claims, process
from supervisor.calls.fence import Fence, Why
from supervisor.records.handle import RecordHandle
from supervisor.records.record import JournalEntry


def without_fencing() -> None:
    """Claims that may always write, and that are never lost, not even to an owner with a later epoch."""
    claims.Claim.may_write = lambda _self: True  # type: ignore[assignment,method-assign]
    claims.Claims._fence = lambda *_args: None  # type: ignore[method-assign]
    close = Fence.close
    Fence.close = lambda fence, why: close(fence, why) if why is Why.HANDED_OVER else None  # type: ignore[assignment,method-assign]


def without_journal() -> None:
    """A journal that keeps nothing, and says that it did."""

    async def flush(*_args: Any) -> bool:
        return True

    def journal(handle: RecordHandle, entry: JournalEntry) -> None:
        handle.record.journal[entry.tool_call_id] = entry

    RecordHandle.flush = flush  # type: ignore[method-assign,assignment]
    RecordHandle.journal = journal  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    {"fencing": without_fencing, "journal": without_journal}[sys.argv[1]]()
    sys.exit(process.main())
