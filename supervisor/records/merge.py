"""Merge a record that was opened late with the store's.

An owner whose store is down serves its call all the same, with a record that begins empty. When the store answers, that
record holds what the owner did, and the store what earlier owners did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from supervisor.records.record import CallRecord, JournalEntry


def merge(ours: CallRecord, stored: CallRecord) -> CallRecord:
    """Return one record of what we and earlier owners did.

    Both arguments stay as they are.
    """
    return replace(
        ours,
        epoch=stored.epoch,
        # What has happened once must not happen again, such as a greeting.
        heard_at=stored.heard_at or ours.heard_at,
        accepted_at=stored.accepted_at or ours.accepted_at,
        attached_at=stored.attached_at or ours.attached_at,
        greeted_at=stored.greeted_at or ours.greeted_at,
        journal=_merge_journals(ours.journal, stored.journal),
        # Of a value that both have set, ours is the later.
        state={**stored.state, **ours.state},
        session={**stored.session, **ours.session},
        # We counted from zero.
        tokens=stored.tokens + ours.tokens,
        cost_usd=stored.cost_usd + ours.cost_usd,
        transcript_lost=stored.transcript_lost + ours.transcript_lost,
        # OpenAI counted, and we saw the end of it.
        items=max(stored.items, ours.items),
    )


def merge_in_place(ours: CallRecord, stored: CallRecord) -> None:
    """Give our record the values of the merged one.

    The record, its state and its session stay the same objects, since the owner and the agent hold them. A tool in a
    thread may change the state meanwhile, so that only what is missing is added to it.
    """
    merged = merge(ours, stored)
    for key, value in merged.state.items():
        ours.state.setdefault(key, value)
    for key, value in merged.session.items():
        ours.session.setdefault(key, value)
    merged.state, merged.session = ours.state, ours.session
    for field in fields(CallRecord):
        setattr(ours, field.name, getattr(merged, field.name))


def _merge_journals(ours: Mapping[str, JournalEntry], stored: Mapping[str, JournalEntry]) -> dict[str, JournalEntry]:
    """Prefer our entries, except where a tool must not run twice.

    There the entry of the earlier owner that ran it stands.
    """
    return {
        **stored,
        **{id_: entry for id_, entry in ours.items() if entry.idempotent or not _was_run(stored.get(id_))},
    }


def _was_run(entry: JournalEntry | None) -> bool:
    return entry is not None and (entry.started_at is not None or entry.outcome is not None)
