"""Records in this process's memory: for trying things out, since they do not outlive the process."""

from __future__ import annotations

from supervisor.records.record import CallRecord


class MemoryStore:
    """Keeps records in a dict."""

    def __init__(self) -> None:
        self._records: dict[str, CallRecord] = {}

    async def open(self, call_id: str, message_id: str) -> CallRecord:
        """Open the record of a call and raise its epoch; the first notice's message owns it."""
        record = self._records.get(call_id)
        if record is None:
            record = self._records[call_id] = CallRecord(call_id=call_id, message_id=message_id)
        elif record.message_id == message_id:
            record.epoch += 1
        return record

    async def save(self, record: CallRecord) -> None:
        """Keep the record as it is now."""
        self._records[record.call_id] = record
