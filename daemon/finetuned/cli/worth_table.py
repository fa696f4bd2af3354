"""
What files were worth, as a table, as sentences and as JSON.

Pure: values of reports/worth.py and reports/business.py in, text out.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.core.cost import Cost
from finetuned.core.text import printable
from finetuned.core.worth import Effect, needed
from finetuned.files.production import Production
from finetuned.reports.activity import duration
from finetuned.reports.business import Business, VersionPoint
from finetuned.reports.wording import count, percent, shorten
from finetuned.reports.worth import FileWorth
from finetuned.reports.worth_words import (
    WORTHS,
    before_of,
    change_of,
    energy_of,
    money_of,
    near_of,
    price_of,
)

NAME_CELLS = 32

HEADER = (
    "KEY",
    "FILE",
    "ROWS",
    "TOKENS",
    "TIME",
    "ENERGY",
    "COST",
    "RIGHT BEFORE",
    "CHANGE IN POINTS",
    "PER POINT",
    "NEAR",
    "VERDICT",
    "WORTH IT",
)
"""NEAR: rows that are nearly rows that were learnt before."""


def table(files: Sequence[FileWorth], currency: str) -> list[str]:
    """
    Return one line for each file below a header, columns aligned.
    """
    rows = [HEADER, *(_cells(file, currency) for file in files)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _cells(file: FileWorth, currency: str) -> tuple[str, ...]:
    point = file.price_of_a_point
    return (
        file.key,
        shorten(file.name, NAME_CELLS),
        "-" if file.rows is None else f"{file.rows:,}",
        "-" if file.tokens is None else f"{file.tokens:,}",
        duration(file.cost.seconds) if file.cost.runs else "-",
        energy_of(file.cost),
        price_of(file.cost, currency),
        before_of(file.before),
        change_of(file.own),
        "-" if point is None else money_of(point, currency),
        near_of(file.near),
        str(file.verdict or file.state),
        "-" if file.worth is None else WORTHS[file.worth],
    )


def summary(business: Business, currency: str) -> list[str]:
    """
    Return sentences about all runs, the way of the versions, and production.
    """
    whole = business.whole
    if not whole.runs:
        return ["no run was made yet: nothing has been paid"]
    lines = [
        f"all {count(whole.runs, 'run')}: {duration(whole.seconds)}, {energy_of(whole)},"
        f" {price_of(whole, currency)}; a training with its evaluation costs"
        f" {'?' if business.per_job is None else money_of(business.per_job, currency)}"
        f" (mean of {business.jobs})"
    ]
    if whole.estimated:
        lines.append("~: energy that is estimated from processor time: see [costs] in config.toml")
    if whole.unmetered:
        lines.append(
            f"?: the energy of {count(whole.unmetered, 'run')} was not measured and is not counted"
        )
    if whole.untimed:
        lines.append(f"{count(whole.untimed, 'run')} without a known end: not counted")
    lines += _way(business.over_time, currency)
    lines += [_used(production) for production in business.production]
    if business.problem is not None:
        lines.append(printable(business.problem))
    return lines


def _way(points: Sequence[VersionPoint], currency: str) -> list[str]:
    known = [point for point in points if point.accuracy is not None]
    if len(known) < 2:
        return []
    first, last = known[0], known[-1]
    return [
        f"{count(last.suites, 'benchmark')} together: {first.version} {percent(first.accuracy)},"
        f" {last.version} {percent(last.accuracy)},"
        f" {money_of(last.money - first.money, currency)} later"
    ]


def _used(production: Production) -> str:
    requests = count(production.requests, "recorded request")
    return (
        f"in use, {printable(production.version)}: {requests},"
        f" {production.liked} liked, {production.disliked} disliked,"
        f" {production.corrected} corrected; confidence {production.confidence:.2f},"
        f" {production.milliseconds:.0f} ms"
    )


def details(file: FileWorth, currency: str) -> list[str]:
    """
    Return all that is known of one file, a line for each fact.
    """
    cost = file.cost
    lines = [f"{file.key}  {printable(file.name)}: {file.verdict or file.state}"]
    lines.append(
        f"  rows       {_known(file.rows)} read, {_known(file.train_rows)} to train;"
        f" {_known(file.tokens)} tokens, {file.trained_tokens:,} with loss in its trainings"
    )
    if file.jobs:
        made = f", which made {file.version}" if file.version else ""
        lines.append(f"  jobs       {', '.join(file.jobs)}{made}")
    if file.together:
        lines.append(
            f"  share      {100 * (file.share or 0):.1f}% of that job by tokens, beside"
            f" {count(file.together, 'other file')}; what changed is the work of all of them"
        )
    if cost.runs:
        lines.append(
            f"  cost       {price_of(cost, currency)}: {duration(cost.seconds)} in"
            f" {count(cost.runs, 'run')}, {energy_of(cost)}"
            f" ({', '.join(sorted(cost.sources)) or 'not measured'})"
        )
    if file.own is not None:
        lines.append(f"  gained     {_gained(file, currency)}")
    if file.worth is not None:
        lines.append(f"  worth it   {WORTHS[file.worth]}")
    if file.before is not None:
        lines.append(f"  needed     {needed(file.before, file.near_share)}")
    if file.near is not None and file.near.looked:
        lines.append(
            f"  near rows  {file.near.near} of {file.near.looked} are nearly rows that came before"
        )
    for effect in file.effects:
        way = "" if effect.shown else ", not shown"
        lines.append(
            f"  {'changed' if effect is file.effects[0] else '':9}  {change_of(effect)} on"
            f" {printable(effect.title)} ({effect.origin}, {count(effect.asked, 'question')}{way})"
        )
    lines += [f"  note       {printable(note)}" for note in file.notes]
    return lines


def _gained(file: FileWorth, currency: str) -> str:
    text = f"{change_of(file.own)} points on its own held-out rows"
    if file.price_of_a_point is not None:
        text += f", {money_of(file.price_of_a_point, currency)} a point"
    elif file.own is not None and not file.own.shown:
        text += ": no change is shown, so no price of a point"
    if file.returned is not None:
        text += f"; return {100 * file.returned:+,.0f}%"
    return text


def _known(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def cost_json(cost: Cost) -> dict[str, object]:
    """
    Return a cost as JSON holds it.
    """
    return {
        "runs": cost.runs,
        "seconds": round(cost.seconds, 3),
        "kwh": cost.kwh,
        "energy_from": sorted(cost.sources),
        "runs_without_energy": cost.unmetered,
        "runs_without_time": cost.untimed,
        "money": cost.money,
    }


def effect_json(effect: Effect) -> dict[str, object]:
    """
    Return a change as JSON holds it.
    """
    return {
        "suite": effect.suite,
        "title": effect.title,
        "origin": effect.origin,
        "asked": effect.asked,
        "accuracy_before": effect.before,
        "accuracy_after": effect.after,
        "points": round(effect.points, 3),
        "interval_95": [round(effect.low, 3), round(effect.high, 3)],
        "paired": effect.paired,
        "shown": effect.shown,
    }


def file_json(file: FileWorth) -> dict[str, object]:
    """
    Return one file as JSON holds it.
    """
    return {
        "key": file.key,
        "name": file.name,
        "dataset_id": file.dataset_id,
        "state": file.state,
        "jobs": file.jobs,
        "version": file.version,
        "verdict": file.verdict,
        "rows": file.rows,
        "train_rows": file.train_rows,
        "tokens": file.tokens,
        "trained_tokens": file.trained_tokens,
        "files_beside": file.together,
        "share": file.share,
        "cost": cost_json(file.cost),
        "right_before": None
        if file.before is None
        else {
            "right": file.before.right,
            "asked": file.before.asked,
            "interval_95": file.before.interval,
        },
        "near": None if file.near is None else {"near": file.near.near, "looked": file.near.looked},
        "worth": file.worth,
        "effects": [effect_json(effect) for effect in file.effects],
        "price_of_a_point": file.price_of_a_point,
        "return": file.returned,
        "notes": file.notes,
    }


def business_json(business: Business) -> dict[str, object]:
    """
    Return the figures of a root as JSON holds them.
    """
    return {
        "cost": cost_json(business.whole),
        "by_kind": {str(kind): cost_json(cost) for kind, cost in business.by_kind.items()},
        "trainings": business.jobs,
        "cost_of_a_training": business.per_job,
        "over_time": list(business.over_time),
        "production": list(business.production),
        "problem": business.problem,
    }
