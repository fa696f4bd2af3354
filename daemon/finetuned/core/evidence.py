"""
An eval report read as evidence for the gate.

Pure. A value that is missing or of the wrong type becomes missing evidence; no
default fills a gap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

Report = Mapping[str, Any]

HEAD: Final = "head"
"""The subject of a report that is the head, absent if the head is the release."""


@dataclass(frozen=True, slots=True)
class ItemPair:
    """
    The outcomes of candidate and incumbent on one item; None if nothing is generated for it.

    The incumbent is the model that the candidate is compared with: the release, or the head.
    """

    id: str
    candidate_correct: bool | None
    incumbent_correct: bool | None
    candidate_stopped: bool | None
    incumbent_stopped: bool | None
    candidate_loss: float
    """Summed over the expected answer, in nats; NaN if the report has no number."""
    incumbent_loss: float
    n_tokens: int
    """Tokens of the expected answer; 0 if the item has none to score."""
    cluster: str
    """Items of one template or near-duplicates have the same (core/clusters.py)."""
    swapped_loss: float | None = None
    """
    The candidate's loss of the expected answer after the question of another row, in nats;
    None if it was not measured.
    """
    candidate_invented: bool | None = None
    """Whether a value of the answer should stand in the prompt and does not; None if not known."""
    incumbent_invented: bool | None = None


@dataclass(frozen=True, slots=True)
class SuiteEvidence:
    """
    Both models on one suite.
    """

    name: str
    title: str
    origin: str
    """As the report says; SuiteOrigin holds the known ones."""
    required: bool
    n_items: int
    """Items that both should have been asked, >= 0."""
    pairs: tuple[ItemPair, ...]
    problem: str | None
    """Why it proves nothing, apart from items that are late; None if nothing speaks against it."""
    n_unasked: int = 0
    """Items beside these that were left out of a first look, >= 0."""
    n_left_out: int = 0
    """Items beside these for which there was no time: n_items are a sample, >= 0."""
    n_late: int = 0
    """Of n_items, those that one of both could not be asked in time, which are in no pair."""
    late: str = ""
    """Who was late, for people: the subjects of a report, each with its number of items."""


@dataclass(frozen=True, slots=True)
class Merge:
    """
    The difference between the merged weights and base with adapter.
    """

    difference: float
    """Largest difference of two logits, relative to the largest logit, >= 0."""
    tolerance: float
    n_positions: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    Everything that is known about a candidate.
    """

    suites: tuple[SuiteEvidence, ...]
    """The candidate against the release."""
    head: tuple[SuiteEvidence, ...] = ()
    """The candidate against the head that it started from; empty if that is the release."""
    missing: tuple[str, ...] = ()
    """Required suites of which the report holds nothing."""
    consolidation: bool = False
    """Whether the candidate is the incumbent with its adapter merged, not a trained model."""
    merge: Merge | None = None


def evidence_of(
    report: Report,
    *,
    required: Iterable[str] = (),
    head: bool = False,
    merge: Mapping[str, Any] | None = None,
) -> Evidence:
    """
    Return what *report* proves about its candidate.

    Args:
        report: An eval report (docs/reference/eval_report.schema.json). Anything else
            proves nothing.
        required: Names of suites that must be in it, whatever it says of them itself.
        head: Whether the head is another version than the release, so that it must be in it.
        merge: For a consolidation, how the merged weights were compared.
    """
    report = report if isinstance(report, Mapping) else {}
    required = set(required)
    items: dict[str, list[Any]] = {}
    for item in _list(report.get("items")):
        if isinstance(item, Mapping):
            items.setdefault(str(item.get("suite")), []).append(item)
    subjects = report.get("subjects")
    subjects = subjects if isinstance(subjects, Mapping) else {}
    suites = [s for s in _list(report.get("suites")) if isinstance(s, Mapping) and "name" in s]

    def against(subject: str) -> tuple[SuiteEvidence, ...]:
        found: dict[str, SuiteEvidence] = {}
        for suite in suites:
            one = _suite(suite, items.get(str(suite["name"]), []), subjects, required, subject)
            if one.name in found:
                # Its items would count twice.
                one = replace(one, required=True, problem="it is in the report twice")
            found[one.name] = one
        return tuple(found.values())

    release = incumbent_key({"subjects": subjects})
    other = HEAD in subjects and _key({"subjects": subjects}, HEAD) != release
    return Evidence(
        suites=against("incumbent"),
        head=against(HEAD) if head or other else (),
        missing=tuple(sorted(required - {str(s["name"]) for s in suites})),
        consolidation=report.get("job_kind") == "consolidation",
        merge=_merge(merge),
    )


def incumbent_key(report: Report) -> str:
    """
    Return the key of the incumbent's outcome in an item: ``base`` if the incumbent is the base.
    """
    return _key(report, "incumbent")


def _key(report: Report, subject: str) -> str:
    """Return the subject whose outcomes are those of *subject*; never the candidate."""
    try:
        same = report["subjects"][subject]["same_as"]
    except (KeyError, TypeError):
        same = None
    return str(same) if same in ("base", "incumbent") else subject


def together(report: Report, subject: str, origin: str) -> dict[str, Any] | None:
    """
    Return right answers, questions and loss of *subject* over all suites of one origin, or None.
    """
    names = [s["name"] for s in report.get("suites", []) if s["origin"] == origin]
    found = report.get("subjects", {}).get(subject, {}).get("suites", {})
    scores = [found[name] for name in names if name in found]
    if not scores:
        return None
    tokens = sum(s["loss_tokens"] for s in scores)
    losses = [s["loss"] * s["loss_tokens"] for s in scores if s["loss"] is not None]
    return {
        "n_asked": sum(s["n_asked"] for s in scores),
        "n_correct": sum(s["n_correct"] for s in scores),
        "loss": sum(losses) / tokens if tokens else None,
    }


def _suite(
    suite: Mapping[str, Any],
    items: list[Any],
    subjects: Mapping[str, Any],
    needed: set[str],
    against: str,
) -> SuiteEvidence:
    name = str(suite["name"])
    incumbent = _key({"subjects": subjects}, against)
    problem = suite.get("problem")
    pairs: dict[str, ItemPair] = {}
    late, n_late = dict.fromkeys((incumbent, "candidate"), 0), 0
    for item in items:
        who_was_late = _late(item, tuple(late))
        if who_was_late and item.get("id") not in pairs:
            n_late += 1
            late |= {subject: late[subject] + 1 for subject in who_was_late}
            continue
        pair = _pair(item, incumbent)
        if pair is None or pair.id in pairs:
            problem = (
                problem or f"an item without a cluster or an outcome of both: {item.get('id')!r}"
            )
        else:
            pairs[pair.id] = pair
    for subject in (incumbent, "candidate"):
        if problem is None and not late[subject] and not _complete(subjects.get(subject), name):
            problem = f"the {subject} was not asked everything in time"
    n_items, n_unasked = suite.get("n_items"), suite.get("n_unasked", 0)
    if type(n_unasked) is not int or n_unasked < 0:
        n_unasked, problem = 0, problem or "how much of it was left out is not known"
    n_left_out = suite.get("n_left_out", 0)
    if type(n_left_out) is not int or n_left_out < 0:
        n_left_out, problem = 0, problem or "for how much of it there was no time is not known"
    return SuiteEvidence(
        name=name,
        title=str(suite.get("title") or name),
        origin=str(suite.get("origin")),
        required=suite.get("required") is not False or name in needed,
        n_items=n_items if type(n_items) is int else -1,
        pairs=tuple(pairs.values()),
        problem=None if problem is None else str(problem),
        n_unasked=n_unasked,
        n_left_out=n_left_out,
        n_late=n_late,
        late=", ".join(f"{n} of the {subject}" for subject, n in late.items() if n),
    )


def _late(item: Mapping[str, Any], subjects: Iterable[str]) -> list[str]:
    """Return those of *subjects* whose answer a time limit cut, or who were not reached."""
    try:
        return [s for s in subjects if item["outcomes"][s]["timed_out"] is True]
    except (KeyError, TypeError):
        return []


def _complete(subject: object, suite: str) -> bool:
    try:
        return subject["suites"][suite]["complete"] is True  # type: ignore[index]
    except (KeyError, TypeError):
        return False


def _pair(item: Mapping[str, Any], incumbent: str) -> ItemPair | None:
    try:
        new, old = item["outcomes"]["candidate"], item["outcomes"][incumbent]
        asked = new["correct"] is not None
        if asked != (old["correct"] is not None) or new["n_tokens"] != old["n_tokens"]:
            return None
        # Any other value would count as wrong; for the incumbent that favours the candidate.
        told = [o[key] for o in (new, old) for key in ("correct", "stopped")]
        if type(new["n_tokens"]) is not int or (asked and any(type(t) is not bool for t in told)):
            return None
        cluster, swapped = item["cluster"], item.get("swapped_loss")
        if not isinstance(cluster, str):
            return None
        return ItemPair(
            id=str(item["id"]),
            candidate_correct=new["correct"] is True if asked else None,
            incumbent_correct=old["correct"] is True if asked else None,
            candidate_stopped=new["stopped"] is True if asked else None,
            incumbent_stopped=old["stopped"] is True if asked else None,
            candidate_loss=_loss(new["loss"]),
            incumbent_loss=_loss(old["loss"]),
            n_tokens=new["n_tokens"],
            cluster=cluster,
            swapped_loss=None if swapped is None else _loss(swapped),
            candidate_invented=_invented(new),
            incumbent_invented=_invented(old),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _invented(outcome: Mapping[str, Any]) -> bool | None:
    """Return whether an answer holds an invented value; None if it was not looked at."""
    detail = outcome.get("detail")
    copied = detail.get("copied") if isinstance(detail, Mapping) else None
    return not copied if isinstance(copied, bool) else None


def _merge(merge: Mapping[str, Any] | None) -> Merge | None:
    try:
        return Merge(
            difference=_number(merge["difference"]),  # type: ignore[index]
            tolerance=_number(merge["tolerance"]),  # type: ignore[index]
            n_positions=int(merge["n_positions"]),  # type: ignore[index]
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _loss(value: object) -> float:
    try:
        return _number(value)
    except (ValueError, OverflowError):  # JSON has no NaN: the loss of a diverged model is null
        return math.nan


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"not a number: {value!r}")
    return float(value)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
