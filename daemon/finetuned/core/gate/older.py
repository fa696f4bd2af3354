"""
Rules about older suites: what release and head knew may not be forgotten by more than the margin.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.config import GateConfig
from finetuned.core.evidence import ItemPair, SuiteEvidence
from finetuned.core.gate.change import change_over, pairs_of
from finetuned.core.gate.verdict import Rule, RuleKind


def older_suites(suites: Sequence[SuiteEvidence], alpha: float, config: GateConfig) -> list[Rule]:
    """
    Fail for each older suite that is shown to be worse by more than the margin.

    Each suite is tested at *alpha* divided by the number of suites (Bonferroni):
    at the whole level, one of many suites would fail by chance. All of them
    together are tested at the whole level.
    """
    rules: list[Rule] = []
    level = alpha / max(1, len(suites))
    for suite in suites:
        rules += _kept(suite.name, suite.title, suite.pairs, level, config)
    if len(suites) > 1:
        together = _kept("old", "all older suites", pairs_of(suites), alpha, config)
        rules += [
            Rule("old_together", r.passed, r.detail, r.kind, numbers=r.numbers) for r in together
        ]
    return rules


def _kept(
    name: str, title: str, pairs: Sequence[ItemPair], level: float, config: GateConfig
) -> list[Rule]:
    change = change_over(pairs)
    rules = []
    if change.asked:
        p = change.p_worse_answers()
        drop = -change.accuracy_change
        held = p > level or drop <= config.max_old_accuracy_drop + 1e-6
        detail = f"{title}: {change.answers()}, p(worse) {p:.3g} at level {level:.3g}"
        numbers = {**change.numbers(), "p_value": p, "level": level}
        rules.append(Rule("old_accuracy", held, detail, RuleKind.HARM, suite=name, numbers=numbers))
    if change.gains:
        p = change.p_worse_loss()
        held = p > level or change.loss_rise <= config.max_old_loss_rise
        detail = f"{title}: loss {change.loss_rise:+.4f} nats per token, p(worse) {p:.3g}"
        rules.append(
            Rule("old_loss", held, detail, RuleKind.HARM, suite=name, numbers={"p_value": p})
        )
    return rules
