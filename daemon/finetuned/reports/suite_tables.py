"""
The tables and the chart of suites: accuracy of each subject, and the change.

Pure. Knows schema_version 2 of eval_report.json (docs/reference/eval_report.schema.json); does not
know HTML. A part that is missing or null is left out and is never an error, because a page
is needed most after a run that went wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuned.reports.subjects import SUBJECTS, Report, names, scores_of
from finetuned.reports.wording import (
    accuracy,
    finite,
    format_facts,
    interval,
    nats,
    percent,
    signed,
)

GAIN = "gain"
"""The rule that compares candidate and release on the new suites, taken together."""


def _cell(subject: str, score: Mapping[str, Any] | None) -> dict[str, Any]:
    if score is None:
        return {"subject": subject, "text": None}
    parts = [f"loss {nats(score.get('loss'))}"]
    if finite(score.get("stop_rate")) is not None:
        parts.append(f"{percent(score['stop_rate'])} stopped")
    parts.append(f"{score.get('n_timed_out') or 0} timed out")
    found = score.get("json")
    if found:
        parts.append(
            f"{found['n_valid']} valid JSON, {found['n_schema_valid']} fit the schema, "
            f"fields {found['fields_right']}/{found['fields']}"
        )
    if score.get("format"):
        parts += format_facts(score["format"])
    complete = bool(score.get("complete"))
    return {
        "subject": subject,
        "text": accuracy(score),
        "facts": ", ".join(parts),
        "complete": complete,
        "cut": "" if complete else f"incomplete: {score['n_asked']} of {score['n_items']} asked",
    }


def _change(report: Report, suite: Mapping[str, Any]) -> dict[str, str]:
    """Return candidate minus incumbent in points, and its interval if a rule has one."""
    after = scores_of(report, "candidate").get(suite["name"]) or {}
    before = scores_of(report, "incumbent").get(suite["name"]) or {}
    new, old = finite(after.get("accuracy")), finite(before.get("accuracy"))
    if new is None or old is None:
        return {"points": "", "way": "", "interval": ""}
    points = 100 * (new - old)
    way = "good" if points >= 0.05 else "bad" if points <= -0.05 else ""
    return {"points": signed(points), "way": way, "interval": _interval(report, suite)}


def _interval(report: Report, suite: Mapping[str, Any]) -> str:
    """Return the interval that a rule about *suite* alone gives, or an empty string."""
    new = [s for s in report["suites"] if s["origin"] == "new"]
    # The gate judges all new suites together; if there is one, the rule is about it.
    about = {suite["name"], None} if [suite] == new else {suite["name"]}
    for rule in report["verdict"].get("rules") or []:
        numbers = rule.get("numbers") or {}
        if rule.get("suite") in about and (rule.get("suite") or rule["name"] == GAIN):
            low, high = (finite(numbers.get(f"accuracy_change_{end}")) for end in ("low", "high"))
            if low is not None and high is not None:
                return interval((100 * low, 100 * high))
    return ""


def suite_rows(report: Report) -> list[dict[str, Any]]:
    """
    Return one row per suite: its facts, a cell per subject, the change.
    """
    return [
        {
            **suite,
            "cells": [_cell(s, scores_of(report, s).get(suite["name"])) for s in SUBJECTS],
            "change": _change(report, suite),
        }
        for suite in report.get("suites") or []
    ]


def all_numbers(report: Report) -> list[dict[str, Any]]:
    """
    Return every score as it is: one row per suite and asked subject.
    """
    asked = names(report)
    return [
        {"title": suite["title"], "who": who, "score": score}
        for suite in report.get("suites") or []
        for subject, who in asked.items()
        if (score := scores_of(report, subject).get(suite["name"]))
    ]


def chart_suites(report: Report) -> list[tuple[str, dict[str, tuple[float, float, float]]]]:
    """
    Return title and subject -> accuracy, low, high (0 to 1) of each suite with an accuracy.
    """
    rows = []
    for suite in report.get("suites") or []:
        known = {}
        for subject in names(report):
            score = scores_of(report, subject).get(suite["name"]) or {}
            value = finite(score.get("accuracy"))
            if value is not None:
                low, high = score.get("interval_95") or (value, value)
                known[subject] = (value, low, high)
        rows += [(suite["title"], known)] if known else []
    return rows
