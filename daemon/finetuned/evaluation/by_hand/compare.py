"""
Two models on the same items: which is better, as far as the items can tell.

Pure: measured answers in, a comparison out, in the form that reports.compare shows. Does
not know where the models are, nor how they were asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from finetuned.core.record import to_json
from finetuned.core.statistics import bootstrap_interval
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.suite import Suite
from finetuned.evaluation.by_hand.change import Change, Pair, change_of
from finetuned.evaluation.measured import Measured, item_record, score

ANSWERS: Final = "McNemar, exact, two-sided"
LOSSES: Final = "sign flips of losses, two-sided"

LEVEL: Final = 0.05
"""Largest chance of naming a winner of two equally good models, for both tests together."""


def compare(a: dict[str, Any], b: dict[str, Any], pairs: Sequence[Pair]) -> dict[str, Any]:
    """
    Compare two models that were asked the same suites.

    Args:
        a, b: ``name`` and ``path`` of each.
        pairs: Per suite, what a and b did; names of suites are unique.

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
    Return several suites as one; the name of its suite precedes the id of each item.
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


def _compared(pair: Pair, names: tuple[str, str]) -> dict[str, Any]:
    change = change_of(pair)
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


def _verdict(pair: Pair, change: Change, names: tuple[str, str]) -> dict[str, Any]:
    """Return ``winner``, ``reason``, and the ``test`` with its ``p_value`` that decided."""
    p_answers, p_losses = change.p_answers, change.p_losses
    tested = [p for p in (p_answers, p_losses) if p is not None]
    if not tested:
        return {"winner": None, "reason": "nothing to compare", "test": None, "p_value": None}
    # Either test may decide, so each is held to its share of the level.
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


def _facts(change: Change, names: tuple[str, str]) -> str:
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


def _hint(change: Change, level: float) -> str:
    """Return what a winner would take, if so few items differ that no p-value can be low enough."""
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
