"""
The order in which the rules are applied, and to which suites.
"""

from __future__ import annotations

from finetuned.config import GateConfig
from finetuned.core.evidence import Evidence
from finetuned.core.gate.absolute import absolute
from finetuned.core.gate.behaviour import canaries, merge_is_exact, stop_rate
from finetuned.core.gate.change import pairs_of
from finetuned.core.gate.completeness import completeness, problem_of
from finetuned.core.gate.new_rows import gain, minimum_gain, not_worse
from finetuned.core.gate.older import older_suites
from finetuned.core.gate.verdict import RuleKind, Verdict
from finetuned.core.suite_origin import SuiteOrigin


def judge(evidence: Evidence, config: GateConfig, *, look: int = 1) -> Verdict:
    """
    Decide on a candidate.

    Args:
        evidence: Both models on the same items; see Evidence.
        config: Margins, confidence and absolute gates.
        look: Number of this judgement among those against the same release, from 1.

    Returns:
        The verdict with every rule that was checked. If evidence is missing,
        only the rules that say so.
    """
    rules = completeness(evidence)
    if not all(rule.passed for rule in rules):
        return Verdict(tuple(rules))
    alpha = 1 - config.confidence
    # An incomplete suite proves nothing, even if it is not required.
    suites = [s for s in evidence.suites if problem_of(s) is None]
    new = pairs_of(suites, SuiteOrigin.NEW)
    older = [s for s in suites if s.origin in (SuiteOrigin.OLD, SuiteOrigin.BENCHMARK)]
    if evidence.consolidation:
        older += [s for s in suites if s.origin == SuiteOrigin.NEW]
        rules.append(merge_is_exact(evidence.merge))
    else:
        rules += [*not_worse(new, alpha), gain(new, alpha, config)]
        if config.min_gain > 0:
            rules.append(minimum_gain(new, config.min_gain))
    rules += older_suites(older, alpha, config)
    rules += canaries([s for s in suites if s.origin == SuiteOrigin.CANARY])
    rules.append(stop_rate(pairs_of(suites), alpha))
    rules += absolute("ship", config.ship_gates, suites, config.confidence, RuleKind.GAIN)
    rules += absolute("quality", config.quality_gates, suites, config.confidence, RuleKind.ADVICE)
    return Verdict(tuple(rules))
