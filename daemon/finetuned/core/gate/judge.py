"""
The order in which the rules are applied, and to which suites.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from finetuned.config import GateConfig
from finetuned.core.evidence import HEAD, Evidence, SuiteEvidence
from finetuned.core.gate.absolute import absolute
from finetuned.core.gate.answers_follow import answers_follow
from finetuned.core.gate.behaviour import canaries_kept, canaries_worse, merge_is_exact, stop_rate
from finetuned.core.gate.change import pairs_of
from finetuned.core.gate.completeness import (
    asked_of_both,
    completeness,
    finite_loss,
    problem_of,
    sampled_enough,
)
from finetuned.core.gate.first_look import asked_whole
from finetuned.core.gate.invented import invented_rise, invented_share
from finetuned.core.gate.new_rows import gain, minimum_gain, not_worse
from finetuned.core.gate.older import older_suites
from finetuned.core.gate.verdict import Rule, RuleKind, Verdict
from finetuned.core.suite_origin import SuiteOrigin

_ALWAYS: Final = ("asked", "asked_whole", "finite_loss", "merge")
"""Rules that hold whatever gate.release says: without them a candidate is damaged or unknown."""


def judge(evidence: Evidence, config: GateConfig, *, look: int = 1) -> Verdict:
    """
    Decide on a candidate.

    Rules of harm are applied to whatever both were asked in time, against the release and
    against the head; rules of gain only if nothing is missing, against the release.

    Args:
        evidence: Both models on the same items; see Evidence.
        config: Margins, confidence, absolute gates, and what is released.
        look: Number of this judgement among those against the same release, from 1.
    """
    rules = completeness(evidence)
    whole = all(rule.passed for rule in rules)
    # An incomplete suite proves nothing, even if it is not required.
    suites = [s for s in evidence.suites if problem_of(s) is None]
    rules.append(finite_loss(evidence.suites))
    if evidence.consolidation:
        rules.append(merge_is_exact(evidence.merge))
    elif whole:
        new = pairs_of(suites, SuiteOrigin.NEW)
        rules.append(gain(new, look, config))
        if config.min_gain > 0:
            rules.append(minimum_gain(new, config.min_gain))
        files = [s for s in suites if s.origin == SuiteOrigin.NEW]
        rules += answers_follow(files, 1 - config.confidence)
    head = asked_of_both(evidence.head)
    alpha = (1 - config.confidence) / (2 if head else 1)  # two models, two chances
    asked = asked_of_both(evidence.suites)
    rules += _harm(asked, alpha, config, consolidation=evidence.consolidation)
    # A head is not proven: a canary that it passes may be luck, and is nothing to be kept.
    rules += canaries_kept([s for s in suites if s.origin == SuiteOrigin.CANARY])
    rules += [
        replace(rule, against=HEAD, detail=f"{rule.detail} (against the head)")
        for rule in _harm(head, alpha, config, consolidation=evidence.consolidation)
    ]
    if whole:
        rules += invented_share(pairs_of(suites), config)
        rules += absolute("ship", config.ship_gates, suites, config.confidence, RuleKind.GAIN)
        rules += absolute(
            "quality", config.quality_gates, suites, config.confidence, RuleKind.ADVICE
        )
    harmed = any(rule.kind is RuleKind.HARM and not rule.passed for rule in rules)
    rules += [*asked_whole(evidence.suites, harmed=harmed), *sampled_enough(evidence.suites)]
    if evidence.consolidation:  # a merge learns nothing, so nothing is lost if it is refused
        rules = [replace(r, kind=RuleKind.HARM) if r.kind is RuleKind.GAIN else r for r in rules]
    elif config.release == "every":
        rules = [r if r.name in _ALWAYS else replace(r, kind=RuleKind.ADVICE) for r in rules]
    return Verdict(tuple(rules))


def _harm(
    suites: Sequence[SuiteEvidence],
    alpha: float,
    config: GateConfig,
    *,
    consolidation: bool,
) -> list[Rule]:
    """Return the rules that fail if something is shown to be worse than before."""
    if not suites:
        return []
    older = [s for s in suites if s.origin in (SuiteOrigin.OLD, SuiteOrigin.BENCHMARK)]
    rules = []
    if consolidation:
        older += [s for s in suites if s.origin == SuiteOrigin.NEW]
    else:
        rules += not_worse(pairs_of(suites, SuiteOrigin.NEW), alpha)
    rules += older_suites(older, alpha, config)
    rules += canaries_worse([s for s in suites if s.origin == SuiteOrigin.CANARY], alpha)
    rules += invented_rise(pairs_of(suites), alpha, config)
    return [*rules, stop_rate(pairs_of(suites), alpha)]
