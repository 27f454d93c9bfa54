"""The record of each call, and the stores that keep it."""

from supervisor.records.memory import MemoryStore
from supervisor.records.record import CallRecord, EndReason

__all__ = ["CallRecord", "EndReason", "MemoryStore"]
