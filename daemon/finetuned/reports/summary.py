"""
The content of the page's tables and lists, computed from an eval report.

Pure. Knows schema_version 2 of eval_report.json (docs/reference/eval_report.schema.json); does not
know HTML. A part that is missing or null is left out and is never an error, because a page
is needed most after a run that went wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetuned.core.retention import version_number
from finetuned.core.text import visible
from finetuned.reports.examples import Card, card, judged, share_out, spread
from finetuned.reports.wording import (
    accuracy,
    count,
    finite,
    interval,
    nats,
    number,
    percent,
    signed,
)

Report = Mapping[str, Any]

SUBJECTS = ("base", "incumbent", "candidate")
GAIN = "gain"
"""The rule that compares candidate and incumbent on the new suites, taken together."""

MAX_CHANGED = 60
MAX_OTHERS = 40
MAX_HISTORY = 12
MAX_HISTORY_SUITES = 4

KINDS = {
    "better": "got better",
    "worse": "got worse",
    "wrong": "wrong before and after",
    "right": "right before and after",
}

_THAT = {
    kind: label.replace("wrong", "were wrong").replace("right", "were right")
    for kind, label in KINDS.items()
}


def names(report: Report) -> dict[str, str]:
    """
    Return subject -> its name on the page, for the subjects that were asked.

    The incumbent is left out if it is the base model.
    """
    subjects = report.get("subjects") or {}
    called = {
        "base": f"base {visible(report.get('base') or '')}".strip(),
        "incumbent": f"incumbent {visible(report.get('incumbent') or '')}".strip(),
        "candidate": f"candidate {visible(report.get('version') or '')}".strip(),
    }
    return {
        key: called[key]
        for key in SUBJECTS
        if subjects.get(key) and not subjects[key].get("same_as")
    }


def headline(report: Report) -> str:
    """
    Return the verdict in one sentence.
    """
    verdict = report["verdict"]
    version = visible(report["version"])
    before = visible(report.get("incumbent") or f"the base model {report.get('base')}")
    outcome = (
        f"{version} was promoted over {before}"
        if verdict["promoted"]
        else f"{version} was rejected, {before} stays in use"
    )
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
        ("evaluated", visible(report["created_at"])),
        ("took", f"{number(seconds, digits=1)} s and {number(loading, digits=1)} s of loading"),
    ]


def _scores(report: Report, subject: str) -> Mapping[str, Any]:
    """Return a subject's scores by suite; those of the base if it is the same model."""
    subjects = report.get("subjects") or {}
    found = subjects.get(subject) or {}
    scores = found.get("suites") or {}
    same = found.get("same_as")
    return scores or ((subjects.get(same) or {}).get("suites") or {} if same else {})


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
    after = _scores(report, "candidate").get(suite["name"]) or {}
    before = _scores(report, "incumbent").get(suite["name"]) or {}
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
            "cells": [_cell(s, _scores(report, s).get(suite["name"])) for s in SUBJECTS],
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
        if (score := _scores(report, subject).get(suite["name"]))
    ]


def chart_suites(report: Report) -> list[tuple[str, dict[str, tuple[float, float, float]]]]:
    """
    Return title and subject -> accuracy, low, high (0 to 1) of each suite with an accuracy.
    """
    rows = []
    for suite in report.get("suites") or []:
        known = {}
        for subject in names(report):
            score = _scores(report, subject).get(suite["name"]) or {}
            value = finite(score.get("accuracy"))
            if value is not None:
                low, high = score.get("interval_95") or (value, value)
                known[subject] = (value, low, high)
        rows += [(suite["title"], known)] if known else []
    return rows


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


def example_cards(report: Report) -> tuple[list[Card], dict[str, int], str]:
    """
    Choose the examples to show: what changed first, then some of the rest.

    Returns:
        The cards in order; how many of each kind there are in all; and a sentence
        about what is not shown, empty if every item is shown.
    """
    pools: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in KINDS}
    unjudged = 0
    for item in report.get("items") or []:
        kind = _kind(item.get("outcomes") or {})
        if kind:
            pools[kind].append(item)
        else:
            unjudged += 1
    limits = dict(zip(KINDS, _limits(pools), strict=True))
    titles = {s["name"]: s["title"] for s in report.get("suites") or []}
    cards = [
        card(
            item,
            kind=kind,
            title=titles.get(item["suite"], item["suite"]),
            outcomes=item["outcomes"],
            names=names(report),
        )
        for kind, pool in pools.items()
        for item in spread(pool)[: limits[kind]]
    ]
    hidden = {kind: len(pool) - limits[kind] for kind, pool in pools.items()}
    more = [f"{n} more that {_THAT[kind]}" for kind, n in hidden.items() if n]
    more += [f"{count(unjudged, 'item')} without a judged answer"] if unjudged else []
    left_out = f"Not shown: {', '.join(more)}." if more else ""
    return cards, {kind: len(pool) for kind, pool in pools.items()}, left_out


def _limits(pools: Mapping[str, Sequence[object]]) -> list[int]:
    sizes = [len(pool) for pool in pools.values()]
    return share_out(MAX_CHANGED, sizes[:2]) + share_out(MAX_OTHERS, sizes[2:])


def _kind(outcomes: Mapping[str, Any]) -> str | None:
    # If the incumbent is the base, the base's outcome is the incumbent's.
    before = judged(outcomes.get("incumbent") or outcomes.get("base"))
    after = judged(outcomes.get("candidate"))
    kinds = {("wrong", "right"): "better", ("right", "wrong"): "worse"}
    same = after if before in (after, "unjudged") and after != "unjudged" else None
    return kinds.get((before, after), same)


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
        scores = _scores(old, "candidate")
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
