"""
Rules about single properties: canaries kept, answers that end, merged weights that agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from finetuned.core.evidence import ItemPair, Merge, SuiteEvidence
from finetuned.core.gate.change import change_over
from finetuned.core.gate.verdict import Rule, RuleKind
from finetuned.core.statistics import clustered_sign_flip

_MAX_NAMED: Final = 5
"""Failed canaries that a detail names."""
MAX_STOP_RATE_DROP: Final = 0.1
"""Share of answers that may cease to end by themselves: each is a wrong answer too, and the rules
of answers look at that more closely."""


def canaries_kept(suites: Sequence[SuiteEvidence]) -> list[Rule]:
    """
    Fail for each suite of canaries of which one that the release passed now fails.

    Such a candidate is not promoted. That it is worse is another matter: see canaries_worse.
    """
    rules = []
    for suite in suites:
        passed = [p for p in suite.pairs if p.incumbent_correct]
        lost = [p.id for p in passed if not p.candidate_correct]
        kept = len(passed) - len(lost)
        detail = f"{kept} of {len(passed)} that the release passed"
        if not passed:
            detail = "no evidence: the release passed none of them, so none could be lost"
        if lost:
            more = " ..." if len(lost) > _MAX_NAMED else ""
            detail += f"; failed: {', '.join(lost[:_MAX_NAMED])}{more}"
        numbers: dict[str, float] = {"kept": kept, "lost": len(lost)}
        rules.append(
            Rule("canaries", not lost, detail, RuleKind.GAIN, suite=suite.name, numbers=numbers)
        )
    return rules


def canaries_worse(suites: Sequence[SuiteEvidence], alpha: float) -> list[Rule]:
    """
    Fail for each suite of canaries of which fewer are right, shown at level *alpha*.
    """
    rules = []
    for suite in suites:
        change = change_over(suite.pairs)
        p = change.p_worse_answers()
        detail = f"{change.answers()}, p(worse) {p:.3g}"
        numbers = {"p_value": p}
        rules.append(
            Rule(
                "canaries_worse",
                p > alpha,
                detail,
                RuleKind.HARM,
                suite=suite.name,
                numbers=numbers,
            )
        )
    return rules


def stop_rate(pairs: Sequence[ItemPair], alpha: float) -> Rule:
    """
    Fail if answers that were right cease to end: more than the margin, shown at level *alpha*.

    One that was wrong before is no worse for running on: the base of a first file may end
    every answer at once.
    """
    asked = [p for p in pairs if p.candidate_stopped is not None and p.incumbent_correct]
    worse = [bool(p.incumbent_stopped) - bool(p.candidate_stopped) for p in asked]
    p = clustered_sign_flip(worse, [p.cluster for p in asked]) if asked else 1.0
    before = sum(bool(p.incumbent_stopped) for p in asked)
    now = sum(bool(p.candidate_stopped) for p in asked)
    detail = f"right answers that ended by themselves {before} -> {now} of {len(asked)}"
    detail += f", p(worse) {p:.3g}"
    held = p > alpha or before - now <= MAX_STOP_RATE_DROP * len(asked)
    return Rule("stop_rate", held, detail, RuleKind.HARM, numbers={"p_value": p})


def merge_is_exact(merge: Merge | None) -> Rule:
    """
    Fail unless the merged weights give the logits of base and adapter, within the tolerance.
    """
    if merge is None or merge.n_positions < 1:
        detail = "the merged weights were not compared with base and adapter"
        return Rule("merge", False, detail, RuleKind.HARM)
    return Rule(
        "merge",
        0 <= merge.difference <= merge.tolerance < math.inf,
        f"logits differ by {merge.difference:.2g} of the largest at {merge.n_positions} positions "
        f"(tolerance {merge.tolerance:g})",
        RuleKind.HARM,
        numbers={"difference": merge.difference, "tolerance": merge.tolerance},
    )
