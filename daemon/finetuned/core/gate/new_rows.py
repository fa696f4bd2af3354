"""
Rules about the held-out rows of the new datasets: not worse, and shown to be better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from finetuned.config import GateConfig
from finetuned.core.evidence import ItemPair
from finetuned.core.gate.change import Change, change_over
from finetuned.core.gate.verdict import Rule, RuleKind, percent
from finetuned.core.looks import level_of_look


def not_worse(pairs: Sequence[ItemPair], alpha: float) -> list[Rule]:
    """
    Fail if the new rows are shown to be worse, in loss or in answers.

    Each of the two is tested at half the level *alpha* (Bonferroni).
    """
    level = alpha / 2
    change = change_over(pairs)
    rules = []
    if change.gains:
        p = change.p_worse_loss()
        detail = f"loss {change.loss_rise:+.4f} nats per token, p(worse) {p:.3g}"
        rules.append(Rule("new_loss", p > level, detail, RuleKind.HARM, numbers={"p_value": p}))
    if change.asked:
        p = change.p_worse_answers()
        detail = f"{change.answers()}, p(worse) {p:.3g}"
        rules.append(Rule("new_accuracy", p > level, detail, RuleKind.HARM, numbers={"p_value": p}))
    return rules


def gain(pairs: Sequence[ItemPair], look: int, config: GateConfig) -> Rule:
    """
    Pass if the new rows are shown to be better, in loss or in answers.

    The level is that of the look; each of the two is tested at half of it (Bonferroni).
    """
    change, level = change_over(pairs), level_of_look(1 - config.confidence, look)
    p_loss, p_answers = change.p_better_loss(), change.p_better_answers()
    detail = f"loss {change.loss_rise:+.4f} nats per token (p {p_loss:.3g})"
    if change.asked:
        detail += f", {change.answers()} (p {p_answers:.3g})"
    numbers = change.numbers()
    numbers |= {"p_loss": p_loss, "p_accuracy": p_answers, "look": look, "level": level / 2}
    # At 0 the rule does not apply: a gain shown by answers may come with a slightly higher loss.
    if config.min_loss_gain > 0 and change.loss_gain < config.min_loss_gain:
        detail += f"; gate.min_loss_gain asks for {config.min_loss_gain:g}"
        return Rule("gain", False, detail, RuleKind.GAIN, numbers=numbers)
    if min(p_loss, p_answers) <= level / 2:
        return Rule("gain", True, detail, RuleKind.GAIN, numbers=numbers)
    numbers |= _still_needed(change, look, config)
    detail += f"; {_why_not_shown(change, look, config, numbers)}"
    if config.release == "no-harm":
        detail += '; gate.release = "no-harm"'
        return Rule("gain", True, detail, RuleKind.GAIN, numbers=numbers)
    return Rule("gain", False, detail, RuleKind.GAIN, numbers=numbers)


def _still_needed(change: Change, look: int, config: GateConfig) -> dict[str, float]:
    """Return how many more rows and clusters would show the gain at the next look, if any is."""
    needed = change.rows_to_show(level_of_look(1 - config.confidence, look + 1) / 2)
    if needed is None:
        return {}
    items = max(change.asked, len(change.gains))
    return {
        "rows_needed": max(1, needed[0] - items),
        "clusters_needed": max(1, needed[1] - change.n_clusters),
    }


def _why_not_shown(
    change: Change, look: int, config: GateConfig, numbers: Mapping[str, float]
) -> str:
    """Return why nothing is shown, and how many more rows would show the gain that is seen."""
    level, items = numbers["level"], max(change.asked, len(change.gains))
    sure, least = percent(config.confidence), math.ceil(-math.log2(level))
    if items < least:
        why = f"fewer than {least} held-out rows cannot show a gain at {sure}"
    elif change.n_clusters == 1:
        why = f"{items} rows that are nearly one row cannot show a gain at {sure}"
    else:
        why = f"no gain is shown at {sure}"
    why += f" (look {look}, p at most {level:.2g})"
    if "rows_needed" not in numbers:
        return f"{why}: nothing is better than before"
    rows = f"about {numbers['rows_needed']:.0f} more held-out rows"
    if change.n_clusters < items:
        rows += f" of {numbers['clusters_needed']:.0f} more kinds"
    return f"{why}: {rows} would show the gain that was seen"


def minimum_gain(pairs: Sequence[ItemPair], least: float) -> Rule:
    """
    Pass if the share of right answers rose by at least *least*, 0 to 1.
    """
    change = change_over(pairs)
    # One part in a million: 0.92 - 0.90 must count as a gain of 0.02.
    passed = change.asked > 0 and change.accuracy_change >= least - 1e-6
    detail = f"{change.answers()}, {100 * change.accuracy_change:+.1f} points of {100 * least:g}"
    return Rule("minimum_gain", passed, detail, RuleKind.GAIN)
