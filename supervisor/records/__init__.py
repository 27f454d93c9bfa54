"""The record of each call, the stores that keep it, and the recorder that writes it behind."""

from supervisor.records.record import CallRecord, EndReason, JournalEntry, Segment
from supervisor.records.recorder import Recorder, Recording
from supervisor.records.store import Change, Fate, Store, StoreError, open_store

__all__ = [
    "CallRecord",
    "Change",
    "EndReason",
    "Fate",
    "JournalEntry",
    "Recorder",
    "Recording",
    "Segment",
    "Store",
    "StoreError",
    "open_store",
]
