"""
The first look at a candidate: what of it settles a verdict without asking everything.

A candidate that shows no gain on the new rows is held, and nothing that older suites could
say would promote it. So they are asked in part first. All of it is asked before a candidate
is promoted, if any rule of harm is in doubt, and at every eighth look, so that what the
parts do not show is found. One that lost a canary, or whose answers do not follow from their
questions, is not promoted either: canaries and new rows are always asked whole, and no other
answer undoes it.

Harm ends the questions as well, on any part. A part is a look of its own: all parts of an
evaluation may together spend half as much as the whole. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from finetuned.config import GateConfig
from finetuned.config.evaluation import MAX_CONFIDENCE
from finetuned.core.evidence import SuiteEvidence
from finetuned.core.gate.verdict import Rule, RuleKind, Verdict
from finetuned.core.looks import level_of_look
from finetuned.core.promotion import VersionVerdict

WHOLE_EVERY: Final = 8
"""Every so manieth look at the same release everything is asked, whatever the first look says."""

_WHOLE_AT_ONCE: Final = ("gain", "canaries", "answers_follow")
"""Rules of gain about new rows and canaries, of which a first look asks everything."""


def may_settle(config: GateConfig, look: int) -> bool:
    """
    Return whether a part of the older suites may be enough at this look.

    Only if what is held is not released: a release is asked everything.

    Args:
        config: Says what is released.
        look: Number of this judgement among those against the same release, from 1.
    """
    return config.release == "proven" and look % WHOLE_EVERY != 0


def settles(verdict: Verdict, config: GateConfig) -> bool:
    """
    Return whether the outcome stays what it is, whatever else the candidate would be asked.

    It is held if its new rows show no gain or a rule fails that was asked whole, nothing that
    was asked for is missing, and no comparison shows it worse at the level of the gate, even by
    less than its margin.
    """
    alpha = 1 - config.confidence
    gains = any(rule.name == "gain" for rule in verdict.rules)
    doubts = [r for r in verdict.rules if r.kind is RuleKind.HARM and _p_value(r) <= alpha]
    return (
        verdict.outcome is VersionVerdict.HELD
        and gains
        and not all(rule.passed for rule in verdict.rules if rule.name in _WHOLE_AT_ONCE)
        and not doubts
    )


def gate_of_part(config: GateConfig, part: int) -> GateConfig | None:
    """
    Return the gate that may reject on a part of the questions, None if none is so strict.

    Part k spends what look k + 1 may spend: a sixth of the level, a twelfth and so on, together
    less than half. The whole keeps its level, since a miss must not become likelier.

    Args:
        config: That of the whole.
        part: Number of the part in its evaluation, from 1.
    """
    confidence = 1 - level_of_look(1 - config.confidence, part + 1)
    return replace(config, confidence=confidence) if confidence <= MAX_CONFIDENCE else None


def asked_whole(suites: Iterable[SuiteEvidence], *, harmed: bool = False) -> list[Rule]:
    """
    Return a failed rule if a part of some suite was not asked, else none.

    Args:
        suites: All.
        harmed: Whether what was asked shows harm.
    """
    parts = [suite for suite in suites if suite.n_unasked]
    if not parts:
        return []
    n = sum(suite.n_unasked for suite in parts)
    why = "what was asked shows harm" if harmed else "all are, before anything is promoted"
    detail = f"{n} items of {_named(parts)} were not asked; {why}"
    return [Rule("asked_whole", False, detail, RuleKind.GAIN, numbers={"unasked": n})]


def _named(suites: Sequence[SuiteEvidence]) -> str:
    shown = [suite.title for suite in suites[:3]]
    more = f" and {len(suites) - len(shown)} more" if len(suites) > len(shown) else ""
    return ", ".join(shown) + more


def _p_value(rule: Rule) -> float:
    return rule.numbers.get("p_value", 1.0)
