"""
Rules about the evidence itself: every required suite complete, and some new row asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from finetuned.core.evidence import Evidence, SuiteEvidence
from finetuned.core.gate.change import pairs_of, was_asked
from finetuned.core.gate.verdict import Rule, RuleKind
from finetuned.core.sample import LEAST_ASKED
from finetuned.core.suite_origin import SuiteOrigin

_LARGEST: Final = 1e12
"""Nats or tokens of one item above which a number is damaged; sums of smaller ones stay finite."""


def completeness(evidence: Evidence) -> list[Rule]:
    """
    Return a failed rule for each gap in the evidence, or passed rules if there is none.
    """
    rules = [
        missing("required_suites", f"{name}: there is no evidence", name)
        for name in evidence.missing
    ]
    for model, suites in (("", evidence.suites), (" (against the head)", evidence.head)):
        for suite in suites:
            problem = problem_of(suite)
            if problem is not None and suite.required:
                detail = f"{suite.title}: {problem}{model}"
                rules.append(missing("required_suites", detail, suite.name))
    if not rules:
        n = sum(s.n_items for s in evidence.suites)
        detail = f"{len(evidence.suites)} suites, {n} items, all asked of both"
        rules.append(Rule("required_suites", True, detail, RuleKind.GAIN, numbers={"items": n}))
    complete = [s for s in evidence.suites if problem_of(s) is None]
    if not complete:
        rules.append(missing("asked", "no suite was asked whole of both models"))
    known = pairs_of(asked_of_both(evidence.suites), SuiteOrigin.NEW)
    asked_new = any(p.n_tokens or was_asked(p) for p in known)
    if not evidence.consolidation and not asked_new:
        detail = "no held-out row of the new datasets was asked: nothing can show that it is better"
        rules.append(missing("new_evidence", detail))
    return rules


def sampled_enough(suites: Iterable[SuiteEvidence]) -> list[Rule]:
    """
    Return a failed rule for what was asked too little to stand for the whole; none if nothing was.

    The new rows of all files count together, and so do the rows of all older files.
    """
    parts: dict[str, list[SuiteEvidence]] = {}
    for suite in suites:
        together = suite.origin in (SuiteOrigin.NEW, SuiteOrigin.OLD)
        parts.setdefault(suite.origin if together else suite.name, []).append(suite)
    rules = []
    for part in parts.values():
        n, left_out = sum(s.n_items for s in part), sum(s.n_left_out for s in part)
        if left_out and n < LEAST_ASKED:
            name = part[0].title + (f" and {len(part) - 1} more" if len(part) > 1 else "")
            detail = (
                f"{name}: there was time for {n} of {n + left_out} items and {LEAST_ASKED} are "
                "needed; evaluation.max_minutes allows more"
            )
            numbers: dict[str, float] = {"items": n, "left_out": left_out}
            suite_name = part[0].name if len(part) == 1 else None
            rules.append(
                Rule("sampled", False, detail, RuleKind.GAIN, suite=suite_name, numbers=numbers)
            )
    return rules


def finite_loss(suites: Iterable[SuiteEvidence]) -> Rule:
    """
    Fail if the loss of the candidate on some item is no number: it diverged, or is damaged.
    """
    pairs = pairs_of(suites)
    bad = [p.id for p in pairs if not abs(p.candidate_loss) < _LARGEST]
    detail = f"the loss on {len(bad)} of {len(pairs)} items is not a finite number"
    return Rule("finite_loss", not bad, detail, RuleKind.HARM, numbers={"damaged": len(bad)})


def missing(name: str, detail: str, suite: str | None = None) -> Rule:
    """
    Return a failed rule: something was not asked, which shows neither gain nor harm.
    """
    return Rule(name, False, detail, RuleKind.GAIN, suite=suite)


def problem_of(suite: SuiteEvidence) -> str | None:
    """
    Return why *suite* proves no gain, or None if it is complete.

    An answer that time cut is neither right nor wrong. A candidate without it is not promoted,
    since what was left out may be what it cannot do.
    """
    problem = damage_of(suite)
    if problem is None and suite.n_late:
        problem = (
            f"{suite.n_late} of {suite.n_items} items could not be asked in time ({suite.late}); "
            "they are asked at the next evaluation"
        )
    return problem


def asked_of_both(suites: Iterable[SuiteEvidence]) -> list[SuiteEvidence]:
    """
    Return the suites whose pairs may show harm: those that are whole, but for items that are late.
    """
    return [suite for suite in suites if suite.pairs and damage_of(suite) is None]


def damage_of(suite: SuiteEvidence) -> str | None:
    """
    Return why *suite* proves nothing at all, or None.
    """
    if suite.problem is not None:
        return suite.problem
    if suite.origin not in tuple(SuiteOrigin):
        return f"its origin is {suite.origin!r}, which no rule looks at"
    if suite.n_items < 1:
        return "it has no item"
    if len(suite.pairs) + suite.n_late != suite.n_items:
        return f"{len(suite.pairs) + suite.n_late} of {suite.n_items} items asked of both"
    if len({p.id for p in suite.pairs}) != len(suite.pairs):
        return "an item is in it twice"
    # Comparisons with NaN are false, so NaN is refused too.
    if not all(
        abs(p.candidate_loss) < _LARGEST and abs(p.incumbent_loss) < _LARGEST for p in suite.pairs
    ):
        return "a loss is not a finite number"
    if not all(0 <= p.n_tokens < _LARGEST for p in suite.pairs):
        return "a token count is out of range"
    return None
