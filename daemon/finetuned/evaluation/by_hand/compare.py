"""
Two models on the same items: which is better, as far as the items can tell.

Pure: measured answers in, a comparison out. Does not know where the models are, nor how
they were asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from finetuned.core.record import to_json
from finetuned.core.statistics import bootstrap_interval
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.suite import Suite
from finetuned.evaluation.by_hand.change import Change, Pair, change_of
from finetuned.evaluation.measured import Measured, item_record, score
from finetuned.files.eval_report import ItemRecord, SuiteScore
from finetuned.inference.outcome import Outcome

ANSWERS: Final = "McNemar, exact, two-sided"
LOSSES: Final = "sign flips of losses, two-sided"

LEVEL: Final = 0.05
"""Largest chance of naming a winner of two equally good models, for both tests together."""


Model = Mapping[str, str]
"""``name`` and ``path`` of a model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """
    Which model is better, and the test that decided.
    """

    winner: str | None
    """"a", "b" or None."""
    reason: str
    test: str | None = None
    """ANSWERS or LOSSES; None if there was nothing to compare."""
    p_value: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """
    Two models on the same items. Changes are b minus a.
    """

    n_items: int
    a: SuiteScore
    b: SuiteScore
    delta_accuracy: float | None
    """In points; None if nothing was answered."""
    interval_95: tuple[float, float] | None
    """Of delta_accuracy."""
    change: Change
    verdict: Verdict

    def document(self) -> dict[str, Any]:
        """
        Return the difference as JSON, without one level of nesting.
        """
        return {
            "n_items": self.n_items,
            "a": to_json(self.a),
            "b": to_json(self.b),
            "delta_accuracy": self.delta_accuracy,
            "interval_95": to_json(self.interval_95),
            "only_a": self.change.only[0],
            "only_b": self.change.only[1],
            "p_answers": self.change.p_answers,
            "delta_loss": self.change.delta_loss,
            "loss_unit": self.change.loss_unit,
            "p_losses": self.change.p_losses,
            **to_json(self.verdict),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """
    Two models that were asked the same suites.
    """

    a: Model
    b: Model
    suites: tuple[tuple[Suite, Difference], ...]
    overall: Difference | None
    """All suites as one; None if there is no suite."""
    items: tuple[ItemRecord, ...]
    """With outcomes "a" and "b"."""

    def document(self) -> dict[str, Any]:
        """
        Return the comparison as JSON, as ``finetuned compare --json`` prints it.

        reports.compare.comparison_page() takes the same.
        """
        return {
            "a": dict(self.a),
            "b": dict(self.b),
            "suites": [
                {
                    "name": suite.name,
                    "title": suite.title,
                    "origin": str(suite.origin),
                    **difference.document(),
                }
                for suite, difference in self.suites
            ],
            "overall": None if self.overall is None else self.overall.document(),
            "items": [_item(item) for item in self.items],
        }


def compare(a: Model, b: Model, pairs: Sequence[Pair]) -> Comparison:
    """
    Compare two models that were asked the same suites.

    Args:
        a, b: ``name`` and ``path`` of each.
        pairs: Per suite, what a and b did; names of suites are unique.
    """
    names = (a["name"], b["name"])
    if names[0] == names[1]:
        names = (f"{names[0]} (a)", f"{names[1]} (b)")
    whole = (pooled([one for one, _ in pairs]), pooled([other for _, other in pairs]))
    return Comparison(
        a=a,
        b=b,
        suites=tuple((pair[0].suite, _difference(pair, names)) for pair in pairs),
        overall=_difference(whole, names) if pairs else None,
        items=tuple(
            item_record(one.suite, question, {"a": one, "b": other})
            for one, other in pairs
            for question in one.suite.questions
        ),
    )


def pooled(measured: Sequence[Measured]) -> Measured:
    """
    Return several suites as one; the name of its suite precedes the id of each item.
    """
    questions, outcomes = [], {}
    free: dict[str, Outcome] = {}
    for one in measured:
        free |= {f"{one.suite.name}/{item}": found for item, found in (one.free or {}).items()}
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
        free=None if all(one.free is None for one in measured) else free,
    )


def _difference(pair: Pair, names: tuple[str, str]) -> Difference:
    change = change_of(pair)
    points = [100.0 * sign for sign in change.signs]
    return Difference(
        n_items=len(pair[0].suite.questions),
        a=score(pair[0]),
        b=score(pair[1]),
        delta_accuracy=math.fsum(points) / len(points) if points else None,
        interval_95=bootstrap_interval(points) if points else None,
        change=change,
        verdict=_verdict(pair, change, names),
    )


def _verdict(pair: Pair, change: Change, names: tuple[str, str]) -> Verdict:
    p_answers, p_losses = change.p_answers, change.p_losses
    tested = [p for p in (p_answers, p_losses) if p is not None]
    if not tested:
        return Verdict(winner=None, reason="nothing to compare")
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
    p_value = p_answers if test == ANSWERS else p_losses
    return Verdict(winner=winner, reason=reason, test=test, p_value=p_value)


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


def _item(item: ItemRecord) -> dict[str, Any]:
    """Return an item as JSON, with the outcomes under "a" and "b" or null."""
    record = to_json(item)
    outcomes = record.pop("outcomes")
    return {**record, "a": outcomes.get("a"), "b": outcomes.get("b")}
