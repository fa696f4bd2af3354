"""
Rules about invented values: values of an answer that its format says are copied from the prompt,
and that do not stand in it.

Only answers whose format marks such values are looked at; without one there is no rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.config import GateConfig
from finetuned.core.evidence import ItemPair
from finetuned.core.gate.verdict import Rule, RuleKind, percent
from finetuned.core.statistics import clustered_sign_flip, least_items, lower_bound


def invented_rise(pairs: Sequence[ItemPair], alpha: float, config: GateConfig) -> list[Rule]:
    """
    Fail if more answers hold an invented value: more than the margin, shown at level *alpha*.

    Args:
        pairs: Of all suites; those of which an answer was not looked at are left out.
        alpha: Level of the rules of harm.
        config: With the margin.
    """
    asked = [p for p in pairs if None not in (p.candidate_invented, p.incumbent_invented)]
    if not asked:
        return []
    rises = [bool(p.candidate_invented) - bool(p.incumbent_invented) for p in asked]
    before, now = (sum(bool(v) for v in side) for side in _sides(asked))
    p_value = clustered_sign_flip(rises, [p.cluster for p in asked])
    held = p_value > alpha or now - before <= config.max_invented_rise * len(asked) + 1e-6
    detail = (
        f"answers with an invented value {before} -> {now} of {len(asked)}, p(worse) {p_value:.3g}"
    )
    numbers = {"p_value": p_value, "before": before, "now": now, "items": len(asked)}
    return [Rule("invented_rise", held, detail, RuleKind.HARM, numbers=numbers)]


def invented_share(pairs: Sequence[ItemPair], config: GateConfig) -> list[Rule]:
    """
    Fail unless answers of the candidate surely hold invented values at most so often.

    As with the other absolute gates, a share that so few items can never show is judged by
    the rate alone. No rule if ``gate.max_invented`` is 1.
    """
    if config.max_invented >= 1:
        return []
    invented = [p.candidate_invented for p in pairs if p.candidate_invented is not None]
    allowed = percent(config.max_invented)
    if not invented:
        detail = f"no answer was looked at, so nothing shows that at most {allowed} are invented"
        return [Rule("invented", False, detail, RuleKind.GAIN)]
    n, n_free = len(invented), invented.count(False)
    threshold = 1 - config.max_invented
    bound = lower_bound(n_free, n, config.confidence)
    detail = f"answers with an invented value: {n - n_free} of {n}"
    if 0 < threshold < 1 and n >= least_items(threshold, config.confidence):
        passed = bound >= threshold - 1e-9
        detail += f", surely at most {1 - bound:.1%} (asked {allowed})"
    else:
        passed = n_free / n >= threshold - 1e-9
        detail += f" against {allowed}: by its rate, since so few items can never show that"
    numbers: dict[str, float] = {
        "invented": n - n_free,
        "items": n,
        "upper_bound": round(1 - bound, 4),
    }
    return [Rule("invented", passed, detail, RuleKind.GAIN, numbers=numbers)]


def _sides(pairs: Sequence[ItemPair]) -> tuple[list[bool | None], list[bool | None]]:
    return [p.incumbent_invented for p in pairs], [p.candidate_invented for p in pairs]
