"""
Two models on the same items: which is better, as far as the items can tell.

Pure: measured answers in, a comparison out, in the form that reports.compare shows. Does
not know where the models are, or how they were asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from finetuned.core.record import to_json
from finetuned.core.statistics import bootstrap_interval, mcnemar, sign_flip
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.suite import Suite
from finetuned.evaluation.measured import Measured, item_record, score

ANSWERS: Final = "McNemar, exact, two-sided"
LOSSES: Final = "sign flips of losses, two-sided"

LEVEL: Final = 0.05
"""Chance, at most, of naming a winner where both are equally good: answers and losses together."""

Pair = tuple[Measured, Measured]


def compare(a: dict[str, Any], b: dict[str, Any], pairs: Sequence[Pair]) -> dict[str, Any]:
    """
    Compare two models that were asked the same suites.

    Args:
        a, b: What a report says of each: ``name`` and ``path``.
        pairs: Per suite, what a and b did. The same suites in both, names all different.

    Returns:
        What reports.compare.comparison_page() takes. Changes are b minus a; accuracies in
        points, losses in ``loss_unit``. ``winner`` is "a", "b" or None.
    """
    names = (str(a["name"]), str(b["name"]))
    if names[0] == names[1]:
        names = (f"{names[0]} (a)", f"{names[1]} (b)")
    whole = (pooled([one for one, _ in pairs]), pooled([other for _, other in pairs]))
    return {
        "a": a,
        "b": b,
        "suites": [
            {
                "name": one.suite.name,
                "title": one.suite.title,
                "origin": one.suite.origin,
                **_compared((one, other), names),
            }
            for one, other in pairs
        ],
        "overall": _compared(whole, names) if pairs else None,
        "items": [item for pair in pairs for item in _items(pair)],
    }


def pooled(measured: Sequence[Measured]) -> Measured:
    """
    Return several suites as one, every item with its suite's name before its id.
    """
    questions, outcomes = [], {}
    for one in measured:
        for question in one.suite.questions:
            name = f"{one.suite.name}/{question.id}"
            questions.append(replace(question, id=name))
            if question.id in one.outcomes:
                outcomes[name] = one.outcomes[question.id]
    return Measured(
        suite=Suite("overall", SuiteOrigin.BENCHMARK, "all suites", "", tuple(questions)),
        outcomes=outcomes,
        n_cached=sum(one.n_cached for one in measured),
        seconds=sum(one.seconds for one in measured),
        in_time=all(one.in_time for one in measured),
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """b against a on the items that both were asked."""

    signs: list[int]
    """Per answered item: 1 only b right, -1 only a, 0 both or none."""
    losses: list[float]
    """Per scored item: loss of b minus that of a, summed over the answer, in nats."""
    delta_loss: float | None
    loss_unit: str
    p_answers: float | None
    p_losses: float | None

    @property
    def only(self) -> tuple[int, int]:
        return self.signs.count(-1), self.signs.count(1)


def _change(pair: Pair) -> _Change:
    one, other = pair
    both = [
        (one.outcomes[i], other.outcomes[i])
        for i in (q.id for q in one.suite.questions)
        if i in one.outcomes and i in other.outcomes
    ]
    signs = [
        int(bool(y.correct)) - int(bool(x.correct))
        for x, y in both
        if x.correct is not None and y.correct is not None
    ]
    scored = [(x, y) for x, y in both if x.n_tokens and y.n_tokens]
    losses = [y.loss_sum - x.loss_sum for x, y in scored]
    # Per token says nothing where two tokenizers cut the same answer differently.
    alike = all(x.n_tokens == y.n_tokens for x, y in scored)
    parts = sum(x.n_tokens for x, _ in scored) if alike else len(scored)
    return _Change(
        signs=signs,
        losses=losses,
        delta_loss=math.fsum(losses) / parts if parts else None,
        loss_unit="nats per token" if alike else "nats per answer",
        p_answers=_two_sided_mcnemar(signs.count(-1), signs.count(1)) if signs else None,
        p_losses=_two_sided_flip(losses) if losses else None,
    )


def _two_sided_mcnemar(one: int, other: int) -> float:
    return min(1.0, 2 * mcnemar(max(one, other), min(one, other)))


def _two_sided_flip(differences: Sequence[float]) -> float:
    p = min(sign_flip(differences), sign_flip([-d for d in differences]))
    return min(1.0, 2 * p)


def _compared(pair: Pair, names: tuple[str, str]) -> dict[str, Any]:
    change = _change(pair)
    verdict = _verdict(pair, change, names)
    points = [100.0 * sign for sign in change.signs]
    return {
        "n_items": len(pair[0].suite.questions),
        "a": to_json(score(pair[0])),
        "b": to_json(score(pair[1])),
        "delta_accuracy": math.fsum(points) / len(points) if points else None,
        "interval_95": list(bootstrap_interval(points)) if points else None,
        "only_a": change.only[0],
        "only_b": change.only[1],
        "p_answers": change.p_answers,
        "delta_loss": change.delta_loss,
        "loss_unit": change.loss_unit,
        "p_losses": change.p_losses,
        **verdict,
    }


def _verdict(pair: Pair, change: _Change, names: tuple[str, str]) -> dict[str, Any]:
    """Return ``winner``, ``reason``, and the ``test`` with its ``p_value`` that decided."""
    p_answers, p_losses = change.p_answers, change.p_losses
    tested = [p for p in (p_answers, p_losses) if p is not None]
    if not tested:
        return {"winner": None, "reason": "nothing to compare", "test": None, "p_value": None}
    # Either may decide, so each is tested at its share of the level.
    level = LEVEL / len(tested)
    test = ANSWERS if p_answers is not None else LOSSES
    winner = None
    by_answers = by_losses = None
    if p_answers is not None and p_answers <= level:
        by_answers = "a" if change.only[0] > change.only[1] else "b"
    if p_losses is not None and p_losses <= level:
        by_losses = "a" if math.fsum(change.losses) > 0 else "b"
    reason = _facts(change, names)
    if not (pair[0].complete and pair[1].complete):
        reason = "not all items were asked in time"
    elif by_answers and by_losses and by_answers != by_losses:
        reason = f"answers and losses contradict each other: {reason}"
    elif by_answers or by_losses:
        winner = by_answers or by_losses
        test = ANSWERS if by_answers else LOSSES
    else:
        reason += _hint(change, level)
    return {
        "winner": winner,
        "reason": reason,
        "test": test,
        "p_value": p_answers if test == ANSWERS else p_losses,
    }


def _facts(change: _Change, names: tuple[str, str]) -> str:
    if not any(change.signs) and not any(change.losses):
        return "no mark and no loss differs"
    facts = []
    if change.p_answers is not None:
        counts = (f"only {names[0]} right {change.only[0]}", f"only {names[1]} {change.only[1]}")
        facts.append(f"{counts[0]}, {counts[1]} (p = {change.p_answers:.2g})")
    if change.p_losses is not None and change.delta_loss is not None:
        lower, less = (names[1], -change.delta_loss)
        if less < 0:
            lower, less = names[0], -less
        facts.append(
            f"loss of {lower} lower by {less:.3g} {change.loss_unit} (p = {change.p_losses:.2g})"
        )
    return "; ".join(facts)


def _hint(change: _Change, level: float) -> str:
    """Say what it would take, where so few items differ that no p-value could be low enough."""
    if not any(change.signs) and not any(change.losses):
        return ""
    needed = math.ceil(1 - math.log2(level))
    hint = f"; p must be at most {level:g}"
    if sum(change.only) < needed and len(change.losses) < needed:
        hint += f", which takes at least {needed} items that differ"
    return hint


def _items(pair: Pair) -> list[dict[str, Any]]:
    items = []
    for question in pair[0].suite.questions:
        record = to_json(item_record(pair[0].suite, question, {"a": pair[0], "b": pair[1]}))
        outcomes = record.pop("outcomes")
        items.append({**record, "a": outcomes.get("a"), "b": outcomes.get("b")})
    return items
