"""What 100,000 calls use of each limit, what they cost, and which settings follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.bench.report import table
from tests.simulate.figures import Figures
from tests.simulate.scenarios import BURST_PER_SECOND, WHOLE

KB, GIB = 1000, 2**30
NOTICE_BYTES = 1000  # the least that Pub/Sub charges for
MEMORY_GIB = 1  # of a supervisor


class Limit(NamedTuple):
    """A limit, and what of it is used."""

    what: str
    limit: float
    steady: float
    most: float
    when: str
    """In which scenario it is used most."""
    shard: str
    grows: bool = True
    """Whether more calls use more of it."""


def limits(whole: Mapping[str, Any], figures: Figures) -> str:
    """Write the table of limits, as a growing fleet meets them."""
    rows = [
        (
            one.what,
            f"{one.limit:,.0f}",
            _used(one.steady, one.limit),
            f"{_used(one.most, one.limit)}, {one.when}",
            f"{WHOLE.calls * one.limit / one.steady:,.0f}" if one.grows else "by no number",
            one.shard,
        )
        for one in sorted(_limits(whole, figures), key=lambda one: (not one.grows, one.limit / one.steady))
    ]
    head = ("limit", "at most", "with nothing happening", "at its most", "reached by so many calls", "the shard then")
    return table(head, rows)


def _used(amount: float, limit: float) -> str:
    digits = 0 if amount >= 10 else 2
    return f"{amount:,.{digits}f} ({amount / limit:.0%})"


def _limits(whole: Mapping[str, Any], figures: Figures) -> list[Limit]:
    def peak(key: str) -> tuple[float, float, str]:
        when = max(whole, key=lambda name: whole[name][key])
        return whole["steady"][key], whole[when][key], when

    calls = WHOLE.calls
    fullest = peak("fullest")
    gigabits = figures.events_per_second * figures.bytes_per_event * 8 / 1e9
    documents = peak("documents_per_second")
    rings, burst = calls / figures.call_seconds, BURST_PER_SECOND
    per_instance = figures.function_requests_per_second * figures.busy_share
    return [
        Limit(
            "Pub/Sub, ids extended or acknowledged a minute, in a region",
            figures.extended_per_minute,
            *peak("extended_per_minute"),
            "a longer lease; a raised quota; another region. More subscriptions don't help: the quota is the region's",
        ),
        Limit(
            "Pub/Sub, notices delivered a minute, in a region",
            figures.delivered_per_minute,
            *peak("delivered_per_minute"),
            "a raised quota, another region; a roll-out in more waves",
        ),
        Limit(
            "Firestore, documents written a second, in a database",
            figures.database_writes_per_second,
            *documents,
            "more databases, by a hash of the call id:"
            f" {math.ceil(documents[1] / figures.database_writes_per_second)} for the most;"
            f" a project has {figures.databases_per_project:.0f}",
        ),
        Limit(
            "Firestore, writes of one document a second: the head of a call",
            figures.document_writes_per_second,
            figures.commits_per_second,
            1.0,
            "a talkative call",
            "none: write the head once a second at most",
            grows=False,
        ),
        Limit(
            "Cloud Run, instances of a pool that scales by CPU",
            figures.instances_per_pool,
            WHOLE.supervisors,
            WHOLE.supervisors,
            "steady",
            "several pools on one subscription, or a number set by hand; fewer, larger supervisors",
        ),
        Limit(
            "Cloud Run, sockets of an instance", figures.sockets_per_instance, *fullest, "none is needed", grows=False
        ),
        Limit(
            "Cloud Run, Gbit a second of an instance",
            figures.gigabits_per_instance,
            fullest[0] * gigabits,
            fullest[1] * gigabits,
            fullest[2],
            "none is needed",
            grows=False,
        ),
        Limit(
            "Cloud NAT, connections to OpenAI for each address",
            figures.connections_per_address,
            calls,
            2 * calls,
            "deploy",
            "more addresses; none without Cloud NAT",
        ),
        Limit(
            "Pub/Sub, MB published a second, in a region",
            figures.published_megabytes_per_second,
            rings * NOTICE_BYTES / 1e6,
            burst * NOTICE_BYTES / 1e6,
            "burst",
            "none is needed",
        ),
        Limit(
            "the function: webhooks a second of one instance at its target load",
            per_instance,
            rings,
            burst,
            "burst",
            f"Cloud Run adds instances by itself, in some seconds; keep {math.ceil(burst / per_instance)} warm"
            " where such a burst is expected",
        ),
    ]


def costs(figures: Figures) -> str:
    """Write the table of what a minute of a call costs."""
    minutes = figures.call_seconds / 60
    core_seconds = 60 * WHOLE.supervisors / WHOLE.calls
    written = 60 * figures.writes_per_second
    parts = written - 60 * figures.commits_per_second + 1 / minutes
    received = 60 * figures.events_per_second * figures.bytes_per_event
    sent = 60 * figures.sent_bytes_per_turn / figures.turn_seconds
    lines = {
        "Firestore, writes": (f"{written:.0f} documents", written * figures.usd_per_write),
        "Firestore, deletions by TTL": (f"{parts:.0f} documents", parts * figures.usd_per_delete),
        "supervisors, CPU": (
            f"{core_seconds:.2f} vCPU-seconds, head-room included",
            core_seconds * figures.usd_per_vcpu_second,
        ),
        "supervisors, memory": (
            f"{core_seconds * MEMORY_GIB:.2f} GiB-seconds",
            core_seconds * MEMORY_GIB * figures.usd_per_gib_second,
        ),
        "sent to OpenAI": (f"{sent / KB:.0f} kB", sent / GIB * figures.usd_per_egress_gib),
        "logs": (
            f"{figures.log_bytes_per_call / minutes / KB:.1f} kB",
            figures.log_bytes_per_call / minutes / GIB * figures.usd_per_log_gib,
        ),
        "Pub/Sub": (
            "one notice in each call, published and delivered",
            2 * NOTICE_BYTES / minutes / GIB * figures.usd_per_pubsub_gib,
        ),
    }
    total = sum(usd for _, usd in lines.values())
    nat = (received + sent) / GIB * figures.usd_per_nat_gib
    rows = [(what, amount, f"{usd * 1e6:.1f}", f"{usd / total:.0%}") for what, (amount, usd) in lines.items()]
    rows.append(("**together**", "", f"**{total * 1e6:.0f}**", ""))
    rows.append(
        ("Cloud NAT, if there is one", f"{(received + sent) / KB:.0f} kB", f"{nat * 1e6:.1f}", f"+{nat / total:.0%}")
    )
    return table(("what", "in a minute of a call", "millionths of a USD", "share"), rows)


def settings(figures: Figures) -> dict[str, str]:
    """Work out what the settings follow from."""
    slots = WHOLE.supervisors * WHOLE.max_calls
    left = figures.extended_per_minute - 2 * 60 * BURST_PER_SECOND  # each ring is renewed at once, and acknowledged
    per_instance = figures.function_requests_per_second * figures.busy_share
    return {
        "slots": f"{slots:,}",
        "held_at_10": f"{figures.extended_per_minute / 60 * 10 / WHOLE.renewals_per_lease:,.0f}",
        "least_lease": f"{60 * WHOLE.renewals_per_lease * slots / left:.0f}",
        "a_zone_less": f"{WHOLE.calls / WHOLE.supervisors * WHOLE.zones / (WHOLE.zones - 1):.0f}",
        "least_databases": f"{math.ceil(slots * figures.writes_per_second / figures.database_writes_per_second)}",
        "warm": f"{math.ceil(BURST_PER_SECOND / per_instance)}",
        "usual": f"{math.ceil(WHOLE.calls / figures.call_seconds / per_instance)}",
        "warm_up": f"{_warm_up_minutes(WHOLE.calls / WHOLE.databases * figures.writes_per_second):.0f}",
        "rings": f"{WHOLE.calls / figures.call_seconds:.0f}",
        "burst": f"{BURST_PER_SECOND:,.0f}",
        "writes": f"{figures.writes_per_second:.2f}",
    }


def _warm_up_minutes(per_second: float) -> float:
    """Say how long traffic grows from 500 a second, by half every 5 minutes."""
    return 5 * math.ceil(math.log(per_second / 500, 1.5))
