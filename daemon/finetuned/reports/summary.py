"""
The verdict, the facts, the gate's rules and the earlier versions, as an eval report gives them.

Pure. Knows schema_version 2 of eval_report.json (docs/reference/eval_report.schema.json); does not
know HTML. A part that is missing or null is left out and is never an error, because a page
is needed most after a run that went wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetuned.core.lost_canaries import lost_canaries
from finetuned.core.retention import version_number
from finetuned.core.text import visible
from finetuned.reports.lost_canaries import answers, choices
from finetuned.reports.subjects import Report, outcome_of, scores_of
from finetuned.reports.wording import accuracy, count, number

MAX_HISTORY = 12
MAX_HISTORY_SUITES = 4


def headline(report: Report) -> str:
    """
    Return the verdict in one sentence.
    """
    verdict = report["verdict"]
    version = visible(report["version"])
    before = visible(report.get("incumbent") or f"the base model {report.get('base')}")
    said = {
        "promoted": f"{version} was promoted over {before}",
        "held": f"{version} was held, {before} stays in use and training goes on from {version}",
    }
    outcome = said.get(outcome_of(verdict), f"{version} was rejected, {before} stays in use")
    return f"{outcome}: {visible(verdict['reason']).rstrip('.')}."


def facts(report: Report) -> list[tuple[str, str]]:
    """
    Return the facts of the evaluation, as name and value.
    """
    learnt = ", ".join(
        # Counted by the trainer: several sequences of one row, and each epoch again.
        f"{visible(d['name'])} ({count(d['n_examples'], 'training sequence')}, repeats counted)"
        for d in report.get("datasets") or []
    )
    subjects = report.get("subjects") or {}
    measured = [s for s in subjects.values() if s]
    seconds = sum(s.get("seconds") or 0 for s in measured)
    loading = sum(s.get("load_seconds") or 0 for s in measured)
    return [
        ("learnt", learnt or "nothing new"),
        ("job", f"{visible(report['job_id'])}, {visible(report['job_kind'])}"),
        ("run", visible(report["run_id"])),
        ("base", visible(report["base"])),
        *([("trained on", f"{visible(report['head'])}, the head")] if report.get("head") else []),
        *_template(report),
        ("evaluated", visible(report["created_at"])),
        ("took", f"{number(seconds, digits=1)} s and {number(loading, digits=1)} s of loading"),
    ]


def _template(report: Report) -> list[tuple[str, str]]:
    """Return the fact that the base has no chat template, if it has none."""
    if report.get("chat_template") != "fallback":
        return []
    return [("chat template", "finetuned's own: the base model has none")]


def rule_rows(report: Report) -> list[dict[str, Any]]:
    """
    Return the gate's rules with ``outcome`` (word, style) and the title of their suite.
    """
    titles = {s["name"]: s["title"] for s in report.get("suites") or []}
    rows = []
    for rule in (report.get("verdict") or {}).get("rules") or []:
        word, style = ("passed", "good") if rule["passed"] else ("failed", "bad")
        if not rule["required"]:
            word, style = f"advice, {word}", "" if rule["passed"] else "advice"
        if rule["passed"] and _shows_nothing(rule):
            word, style = "no evidence", "advice"
        title = titles.get(rule.get("suite"), rule.get("suite"))
        rows.append({**rule, "word": word, "style": style, "title": title})
    return rows


def _shows_nothing(rule: Mapping[str, Any]) -> bool:
    """Return whether a rule passed only because there was nothing that could fail it."""
    numbers = rule.get("numbers") or {}
    return rule["name"] == "canaries" and not numbers.get("kept") and not numbers.get("lost")


@dataclass(frozen=True, slots=True)
class Lost:
    """
    What a page says of lost canaries.
    """

    answers: tuple[str, ...]
    """A line for each."""
    choices: tuple[tuple[str, str], ...]
    """What can be done: what for, and how."""


def lost_of(report: Report) -> Lost | None:
    """
    Return the answers of lost canaries and what can be done; None if there are none, or the
    candidate was promoted all the same.
    """
    lost, outcome = lost_canaries(report), outcome_of(report["verdict"])
    if not lost or outcome == "promoted":
        return None
    version, rejected = visible(report["version"]), outcome == "rejected"
    found = choices(lost, version, rejected=rejected)
    return Lost(tuple(answers(lost)), tuple((visible(c.aim), visible(c.how)) for c in found))


def history_rows(report: Report, history: Sequence[Report]) -> tuple[list[str], list[Any]]:
    """
    Return the suites that earlier versions were asked too, and a row per earlier version.

    Args:
        report: This version's.
        history: Eval reports of earlier versions with the same schema_version, oldest first.

    Returns:
        Titles of at most MAX_HISTORY_SUITES suites with the same questions (sha256), and
        the newest MAX_HISTORY versions, newest first, this one included.
    """
    digests = {s["sha256"]: s["title"] for s in report.get("suites") or []}
    seen = [s["sha256"] for old in history for s in old.get("suites") or []]
    shared = [d for d in digests if d in seen][:MAX_HISTORY_SUITES]
    rows = []
    for old in [report, *reversed(history)][: MAX_HISTORY + 1]:
        suites = {s["sha256"]: s["name"] for s in old.get("suites") or []}
        scores = scores_of(old, "candidate")
        cells = [scores.get(suites.get(digest, "")) for digest in shared]
        # Only a version name becomes a link: other text of a report might lead elsewhere.
        known = old is not report and version_number(str(old["version"])) is not None
        rows.append(
            {
                "report": old,
                "href": f"{old['version']}.html" if known else "",
                "cells": [accuracy(c) if c else "" for c in cells],
            }
        )
    return [digests[d] for d in shared], rows
