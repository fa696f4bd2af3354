"""
Absolute gates: shares of right answers that a version must reach, whatever the release does.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.config import parse_gates
from finetuned.core.evidence import SuiteEvidence
from finetuned.core.gate.change import was_asked
from finetuned.core.gate.verdict import Rule, RuleKind, percent
from finetuned.core.statistics import least_items, lower_bound


def absolute(
    name: str, gates: str, suites: Sequence[SuiteEvidence], confidence: float, kind: RuleKind
) -> list[Rule]:
    """
    Return one rule for each gate of *gates*, such as ``infra_200 >= 0.95, overall >= 0.9``.

    Args:
        name: What the rules are called: ship or quality.
        gates: As config.parse_gates reads them; the suite "overall" is all suites together.
        suites: Complete ones.
        confidence: Of the lower bound that is compared with the threshold, 0.5 to 0.999.
        kind: What it means if one fails.
    """
    rules = []
    for suite, threshold in parse_gates(gates):
        rows = [s for s in suites if suite in (s.name, "overall")]
        right = [bool(p.candidate_correct) for s in rows for p in s.pairs if was_asked(p)]
        rules.append(_absolute_one(name, suite, threshold, right, confidence, kind))
    return rules


def _absolute_one(
    name: str, suite: str, threshold: float, right: list[bool], confidence: float, kind: RuleKind
) -> Rule:
    if not right:
        detail = f"{suite}: no answer was asked, so nothing shows {percent(threshold)}"
        return Rule(name, False, detail, kind, suite=suite)
    n_right = sum(right)
    bound = lower_bound(n_right, len(right), confidence)
    needed = least_items(threshold, confidence)
    detail = f"{suite}: {n_right} of {len(right)}"
    if len(right) >= needed:
        passed = bound >= threshold - 1e-9  # the bound is found by halving and may be short by that
        detail += f", surely at least {bound:.1%} (asked {percent(threshold)})"
    else:
        passed = n_right / len(right) >= threshold
        detail += (
            f" against {percent(threshold)}: by its rate, since fewer than {needed} items "
            f"can never show that"
        )
    numbers: dict[str, float] = {
        "right": n_right,
        "items": len(right),
        "lower_bound": round(bound, 4),
    }
    return Rule(name, passed, detail, kind, suite=suite, numbers=numbers)
