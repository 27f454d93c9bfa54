"""Fills in docs/scale.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from tests.bench.report import table
from tests.simulate.figures import MEASURED, Figure, Figures, load
from tests.simulate.limits import costs, limits, settings
from tests.simulate.plots import plots
from tests.simulate.prediction import predict
from tests.simulate.scenarios import HAPPENS, LEASES, OUTAGES, TENTH, WHOLE
from tests.support.repository import ROOT

TEMPLATE = Path(__file__).with_name("scale.template.md")
PAGE = ROOT / "docs" / "scale.md"
SEEDS = 20  # predictions are made with so many

CHECKED = {
    "answer": "1,000 ring at once: until configured",
    "handed_over": "250 are handed over: from SIGTERM until configured",
    "deaf": "of these: without a sideband",
    "recovered": "250 lose their machine, 150 find a slot: from the kill until configured",
    "without_slot": "the other 100, after another supervisor was started",
}

SERVED = ("without an owner (s): p50, p99", "ring to answer, p99 (s)", "refused", "rang out")

Results = Mapping[str, Any]


def write(results: Results, folder: Path) -> None:
    """Write the page, and the series of its plots into `folder`."""
    figures, listed = load()
    PAGE.write_text(Template(TEMPLATE.read_text()).substitute(_filled(results, figures, listed)))
    folder.mkdir(exist_ok=True)
    for name, plot in plots(results, figures).items():
        (folder / f"{name}.json").write_text(json.dumps(plot))


def _filled(results: Results, figures: Figures, listed: Sequence[Figure]) -> dict[str, str]:
    """What the template leaves open."""
    whole = results["whole"]
    measured = json.loads(MEASURED.read_text())
    return {
        "calls": f"{WHOLE.calls:,}",
        "supervisors": f"{WHOLE.supervisors:,}",
        "max_calls": f"{WHOLE.max_calls:,}",
        "lease": f"{WHOLE.lease_seconds:.0f}",
        "databases": str(WHOLE.databases),
        "answer_seconds": f"{WHOLE.answer_seconds:.0f}",
        "seeds": str(SEEDS),
        "waits": _waits(whole),
        "stages": _stages(whole),
        "limits": limits(whole, figures),
        "head_room": _head_room(results["head-room"]),
        "reserved": _reserved(results["reserved"]),
        "leases": _leases(results["lease"], results["full"], figures),
        "refusal_p50": f"{whole['burst']['refusal']['p50']:.0f}",
        "refusal_p99": f"{whole['burst']['refusal']['p99']:.0f}",
        "waves": _waves(results["waves"], figures),
        "limit": _limit(results["limit"]),
        "stores": _databases(results["databases"]),
        "costs": costs(figures),
        **settings(figures),
        "checked": _checked(figures, measured),
        "machine": f"{measured['machine']}; taken {measured['taken_at']} (UTC)",
        "figures": _figures(listed),
    }


def _waits(whole: Results) -> str:
    rows = []
    for name, happens in HAPPENS.items():
        one = whole[name]
        rows.append(
            (
                happens,
                f"{one['answer']['p50']:.1f}, {one['answer']['p99']:.1f}, {one['answer']['most']:.1f}",
                f"{one['refused']:,}",
                f"{one['rang_out']:,}",
                f"{one['alone']['count'] + one['alone_at_end']:,}",
                f"{one['alone']['p50']:.1f}, {one['alone']['p99']:.1f}, {one['alone']['most']:.1f}",
                f"{one['deaf']['p50']:.1f}, {one['deaf']['p99']:.1f}, {one['deaf']['most']:.1f}",
            )
        )
    head = (
        "what happens",
        "ring to answer (s): p50, p99, most",
        "refused",
        "rang out",
        "times a living call had no owner",
        "for how long (s): p50, p99, most",
        "nobody listened (s): p50, p99, most",
    )
    return table(head, rows)


def _stages(whole: Results) -> str:
    names = ("steady", "slow", "burst")
    rows = [(stage, *(_pair(whole[name]["stages"][stage]) for name in names)) for stage in whole["steady"]["stages"]]
    return table(("seconds: p50, p99", "nothing happens", "Pub/Sub is slow", "a burst"), rows)


def _pair(spread: Mapping[str, float]) -> str:
    return f"{spread['p50']:.2f}, {spread['p99']:.1f}"


def _head_room(sweep: Sequence[Results]) -> str:
    rows = [
        (
            f"{one['labels']['max_calls']}",
            f"{one['labels']['max_calls'] * WHOLE.supervisors / WHOLE.calls - 1:.0%}",
            *_served(one["result"]),
        )
        for one in sweep
    ]
    return table(("`MAX_CALLS`", "head-room", *SERVED), rows)


def _reserved(sweep: Sequence[Results]) -> str:
    rows = [(f"{one['labels']['reserved']}", *_served(one["result"])) for one in sweep]
    return table((f"kept of {sweep[0]['labels']['max_calls']} slots", *SERVED), rows)


def _served(result: Results) -> tuple[str, ...]:
    return (
        f"{result['alone']['p50']:.0f}, {result['alone']['p99']:.0f}",
        f"{result['answer']['p99']:.1f}",
        f"{result['refused'] / result['rang']:.1%}",
        f"{result['rang_out'] / result['rang']:.1%}",
    )


def _leases(sweep: Sequence[Results], fulls: Sequence[Results], figures: Figures) -> str:
    by_labels = {(one["labels"]["lease"], one["labels"]["outage"]): one["result"] for one in sweep}
    full = {one["labels"]["lease"]: one["result"] for one in fulls}
    rows = []
    for lease in LEASES:
        outages = [_share_alone(by_labels[lease, seconds]) for seconds in OUTAGES]
        died = by_labels[lease, 0]["alone"]
        most = figures.extended_per_minute / 60 * lease / WHOLE.renewals_per_lease
        rows.append(
            (
                f"{lease}",
                f"{died['p50']:.1f}, {died['p99']:.1f}",
                *outages,
                f"{most:,.0f}",
                _lost(full[lease]),
            )
        )
    head = (
        "`LEASE_SECONDS`",
        "a machine dies: without an owner (s), p50, p99",
        *(f"Pub/Sub is out for {seconds} s: calls without an owner" for seconds in OUTAGES),
        "calls that the quota of extensions holds",
        "all slots are taken: calls that lose their owner, a minute",
    )
    return table(head, rows)


def _share_alone(result: Results) -> str:
    alone = result["alone"]
    if not alone["count"]:
        return "none"
    return f"{alone['count'] / TENTH.calls:.0%}, for {alone['p50']:.0f} s"


def _lost(result: Results) -> str:
    minutes = len(result["series"]["alone"]) / 60
    lost = (result["alone"]["count"] + result["alone_at_end"]) / TENTH.share / minutes
    return f"{lost:,.0f}" if lost else "none"


def _waves(sweep: Sequence[Results], figures: Figures) -> str:
    rows = []
    for one in sweep:
        result = one["result"]
        rows.append(
            (
                f"{one['labels']['waves']}",
                f"{result['alone']['count'] / TENTH.calls:.2f}",
                f"{result['alone']['p50']:.1f}, {result['alone']['p99']:.1f}",
                f"{result['deaf']['p99']:.1f}",
                f"{result['attaches_per_second'] / TENTH.share:,.0f}",
                f"{result['delivered_per_minute'] / TENTH.share / figures.delivered_per_minute:.0%}",
            )
        )
    head = (
        "waves",
        "changes of owner for each call",
        "without an owner (s): p50, p99",
        "nobody listened, p99 (s)",
        "attaches in the busiest second",
        "of the quota of deliveries",
    )
    return table(head, rows)


def _limit(sweep: Sequence[Results]) -> str:
    short, long = (one["result"]["alone"] for one in sweep)
    lost, kept = (alone["count"] / TENTH.share for alone in (short, long))
    return (
        f"given up after 2 s, {lost:,.0f} calls would lose their owner, for {short['p50']:.0f} s (p50);"
        f" waited for until the fence, {kept:,.0f}"
    )


def _databases(sweep: Sequence[Results]) -> str:
    rows = [
        (
            f"{one['labels']['databases']}",
            f"{one['result']['documents_per_second'] / TENTH.share:,.0f}",
            _pair(one["result"]["stages"]["core, record"]),
        )
        for one in sweep
    ]
    return table(("databases", "documents in the busiest second", "opening a record (s): p50, p99"), rows)


def _checked(figures: Figures, measured: Results) -> str:
    predictions = [predict(figures, measured["costs"], seed=seed) for seed in range(SEEDS)]
    run = measured["run"]
    rows = []
    for name, what in CHECKED.items():
        for share in ("p50", "p99"):
            predicted = sorted(prediction[name][share] for prediction in predictions)  # type: ignore[literal-required]
            rows.append((f"{what}, {share} (s)", _range(predicted), f"{run[name][share]:.2f}"))
    rows.append(("core, while all talk", f"{predictions[0]['core_share']:.0%}", f"{run['core_share']:.0%}"))
    rows.append(("notices delivered", f"{predictions[0]['delivered']:,}", f"{run['delivered']:,}"))
    return table(("", "predicted", "measured"), rows)


def _range(ordered: Sequence[float]) -> str:
    least, most = f"{ordered[0]:.2f}", f"{ordered[-1]:.2f}"
    return least if least == most else f"{least} to {most}"


def _figures(listed: Sequence[Figure]) -> str:
    return table(
        ("figure", "value", "sure", "from, or why"),
        [(figure.meaning, f"{figure.value:,.4g}", figure.sure, figure.source) for figure in listed],
    )
