"""
Rules about the held-out rows of the new datasets: not worse, and shown to be better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from finetuned.config import GateConfig
from finetuned.core.evidence import ItemPair
from finetuned.core.gate.change import Change, change_over
from finetuned.core.gate.verdict import Rule, RuleKind, percent


def not_worse(pairs: Sequence[ItemPair], alpha: float) -> list[Rule]:
    """
    Fail if the new rows are shown to be worse, in loss or in answers, at level *alpha*.
    """
    change = change_over(pairs)
    rules = []
    if change.scored:
        p = change.p_worse_loss()
        detail = f"loss {change.loss_rise:+.4f} nats per token, p(worse) {p:.3g}"
        rules.append(Rule("new_loss", p > alpha, detail, RuleKind.HARM, numbers={"p_value": p}))
    if change.asked:
        p = change.p_worse_answers()
        detail = f"{change.answers()}, p(worse) {p:.3g}"
        rules.append(Rule("new_accuracy", p > alpha, detail, RuleKind.HARM, numbers={"p_value": p}))
    return rules


def gain(pairs: Sequence[ItemPair], alpha: float, config: GateConfig) -> Rule:
    """
    Pass if the new rows are shown to be better, in loss or in answers.

    Each of the two is tested at half the level *alpha* (Bonferroni).
    """
    change = change_over(pairs)
    p_loss, p_answers = change.p_better_loss(), change.p_better_answers()
    detail = f"loss {change.loss_rise:+.4f} nats per token (p {p_loss:.3g})"
    if change.asked:
        detail += f", {change.answers()} (p {p_answers:.3g})"
    numbers = {**change.numbers(), "p_loss": p_loss, "p_accuracy": p_answers}
    # At 0 the rule does not apply: a gain shown by answers may come with a slightly higher loss.
    if config.min_loss_gain > 0 and change.loss_gain < config.min_loss_gain:
        detail += f"; gate.min_loss_gain asks for {config.min_loss_gain:g}"
        return Rule("gain", False, detail, RuleKind.GAIN, numbers=numbers)
    if min(p_loss, p_answers) <= alpha / 2:
        return Rule("gain", True, detail, RuleKind.GAIN, numbers=numbers)
    detail += f"; {_why_not_shown(change, alpha, config)}"
    if config.on_equal == "promote":
        return Rule(
            "gain", True, f'{detail}; gate.on_equal = "promote"', RuleKind.GAIN, numbers=numbers
        )
    return Rule("gain", False, detail, RuleKind.GAIN, numbers=numbers)


def _why_not_shown(change: Change, alpha: float, config: GateConfig) -> str:
    needed = math.ceil(-math.log2(alpha / 2))
    if max(change.scored, change.asked) < needed:
        return (
            f"fewer than {needed} held-out rows cannot show a gain at "
            f"{percent(config.confidence)}: drop more rows at a time"
        )
    return f"no gain is shown at {percent(config.confidence)}"


def minimum_gain(pairs: Sequence[ItemPair], least: float) -> Rule:
    """
    Pass if the share of right answers rose by at least *least*, 0 to 1.
    """
    change = change_over(pairs)
    # One part in a million: 0.92 - 0.90 must count as a gain of 0.02.
    passed = change.asked > 0 and change.accuracy_change >= least - 1e-6
    detail = f"{change.answers()}, {100 * change.accuracy_change:+.1f} points of {100 * least:g}"
    return Rule("minimum_gain", passed, detail, RuleKind.GAIN)
