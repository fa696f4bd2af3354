"""
Confidence: the maps agree with scipy's optimum, and the figures with hand-made cases.
"""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from finetuned.core.confidence.calibration import (
    ALL,
    LEAST_ANSWERS,
    UNCALIBRATED,
    Calibration,
    ConfidenceMap,
    MarkedEnding,
    calibrate,
    source_of,
)
from finetuned.core.confidence.isotonic import fit_isotonic
from finetuned.core.confidence.likelihood import Likelihood, LikelihoodSum
from finetuned.core.confidence.logistic import Logistic, fit_logistic, sigmoid
from finetuned.core.confidence.quality import auroc, quality, risk_coverage
from finetuned.core.confidence.signs import NAMES, Ending, signs_of
from finetuned.core.record import from_json, to_json

LOGPROBS = st.floats(-30, 0)
MARKS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def ending(p: float, **more: bool | int) -> Ending:
    """An answer of one token with this probability."""
    logprob = math.log(p)
    margin = logprob - math.log1p(-p) if p < 1 else math.inf
    likelihood = Likelihood(1, logprob, logprob, margin)
    return Ending(likelihood, **{"n_refused": 0, "stopped": True, **more})  # type: ignore[arg-type]


def marked(n: int, seed: int = 0, families: int = 60) -> list[MarkedEnding]:
    """Answers that are right as often as a known map of their probability says."""
    dice, found = random.Random(seed), []
    for i in range(n):
        p = dice.uniform(0.3, 0.9999)
        truth = sigmoid(0.7 * math.log(p / (1 - p)) - 0.5)
        right, family = dice.random() < truth, f"f{i % families}"
        found.append(
            MarkedEnding(ending=ending(p), is_right=right, family=family, domain=f"d{i % 2}")
        )
    return found


@given(st.lists(st.tuples(LOGPROBS, st.floats(-20, 20)), max_size=30))
def test_what_is_added_token_by_token_is_mean_and_least(tokens: list[tuple[float, float]]) -> None:
    """
    The sum while an answer grows says what the whole answer's tokens say.
    """
    growing = LikelihoodSum()
    for logprob, margin in tokens:
        growing.add(logprob, margin)
    found = growing.likelihood()
    if not tokens:
        assert found is None
        return
    assert found is not None
    assert len(tokens) == found.n
    assert np.mean([t[0] for t in tokens]) == pytest.approx(found.mean)
    assert (min(t[0] for t in tokens), min(t[1] for t in tokens)) == (found.least, found.margin)
    assert 0 <= found.probability <= 1


@pytest.mark.parametrize("broken", [(math.nan, math.nan), (-math.inf, 1.0)])
def test_an_answer_of_no_numbers_has_no_likelihood(broken: tuple[float, float]) -> None:
    """
    A model whose weights broke must not break the map of its version, nor the service.
    """
    growing = LikelihoodSum()
    growing.add(-0.5, 1.0)
    growing.add(*broken)
    growing.add(-0.5, 1.0)
    assert growing.likelihood() is None


@given(st.integers(1, 2000), LOGPROBS, LOGPROBS, st.floats(allow_nan=False), st.integers(0, 500))
def test_every_answer_has_signs_that_are_finite(
    n: int, mean: float, least: float, margin: float, refused: int
) -> None:
    """
    Also one of certain tokens only, and one that its format turned round.
    """
    signs = signs_of(Ending(Likelihood(n, mean, least, margin), refused, stopped=True))
    assert len(NAMES) == len(signs)
    assert all(map(math.isfinite, signs))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(30, 120), st.floats(0.1, 10))
def test_the_logistic_map_is_the_best_one_that_scipy_finds(seed: int, n: int, ridge: float) -> None:
    """
    The penalised likelihood has one optimum, and Newton's method ends there.
    """
    dice = np.random.default_rng(seed)
    rows = dice.normal(size=(n, 3)) * [1, 5, 0.1]
    right = dice.random(n) < 1 / (1 + np.exp(-rows @ [1, 0.3, 4]))
    right[:2] = True, False
    found = fit_logistic(rows.tolist(), right.tolist(), ridge=ridge)
    scaled = (rows - rows.mean(0)) / rows.std(0)

    def loss(weights: np.ndarray) -> float:
        odds = weights[0] + scaled @ weights[1:]
        return float(
            np.logaddexp(0, np.where(right, -odds, odds)).sum()
            + ridge / 2 * (weights[1:] ** 2).sum()
        )

    best = optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-7})
    assert best.x == pytest.approx([found.bias, *found.weights], abs=1e-3)


def test_answers_that_one_sign_separates_have_a_finite_map() -> None:
    """
    Without the ridge the weights would grow without end.
    """
    found = fit_logistic([[float(i)] for i in range(10)], [i > 4 for i in range(10)])
    assert found([9.0]) > 0.9 > 0.1 > found([0.0])
    with pytest.raises(ValueError, match="right and wrong"):
        fit_logistic([[0.0], [1.0]], [True, True])


@given(st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=1, max_size=80))
def test_the_rising_map_is_scipys_isotonic_regression(pairs: list[tuple[float, bool]]) -> None:
    """
    At each answer, but for the edges that nothing is certain beyond; ties share a value.
    """
    signs, right = [p[0] for p in pairs], [p[1] for p in pairs]
    found, edge = fit_isotonic(signs, right), 1 / (len(pairs) + 2)
    places = sorted(set(signs))
    means = [np.mean([r for s, r in pairs if s == place]) for place in places]
    best = optimize.isotonic_regression(means, weights=[signs.count(p) for p in places]).x
    expected = np.clip(best, edge, 1 - edge)
    assert expected == pytest.approx([found.at(place) for place in places])
    assert sorted(found.values) == list(found.values)


@given(MARKS)
def test_auroc_is_the_mann_whitney_share(pairs: list[tuple[float, bool]]) -> None:
    """
    Ties count half, as in scipy's statistic.
    """
    right = [c for c, r in pairs if r]
    wrong = [c for c, r in pairs if not r]
    found = auroc(right, wrong)
    if not right or not wrong:
        assert found is None
    else:
        expected = stats.mannwhitneyu(right, wrong).statistic / (len(right) * len(wrong))
        assert expected == pytest.approx(found)


@given(MARKS)
def test_figures_lie_where_they_must(pairs: list[tuple[float, bool]]) -> None:
    """
    All answers are in the bins, and giving all of them has the risk of all.
    """
    found = quality([c for c, _ in pairs], [r for _, r in pairs])
    assert found.n == len(pairs) == sum(b.n for b in found.bins)
    assert 0 <= found.ece <= 1
    assert 0 <= found.brier <= 1
    assert (1.0, pytest.approx(1 - found.n_right / found.n)) == found.risk[-1]
    assert [share for share, _ in found.risk] == sorted({share for share, _ in found.risk})
    assert len(found.risk) <= 20


def test_a_hand_made_case_has_the_figures_counted_by_hand() -> None:
    """
    Two bins: 0.9 of which one in two is right, 0.2 of which none is.
    """
    found = quality([0.9, 0.9, 0.2, 0.2], [True, False, False, False])
    assert 0.3 == pytest.approx(found.ece)  # (2 * 0.4 + 2 * 0.2) / 4
    assert (0.9, 0.2) == (found.median_right, found.median_wrong)
    assert ((0.5, 0.5), (1.0, 0.75)) == found.risk
    assert 5 / 6 == pytest.approx(found.auroc)


def test_answers_of_equal_confidence_are_given_together() -> None:
    """
    No order among them is made up, so the curve cannot be lucky.
    """
    assert ((1.0, 0.5),) == risk_coverage([0.5, 0.5], [True, False])


def test_a_map_of_overconfident_answers_is_calibrated_on_families_it_has_not_seen() -> None:
    """
    The cross-fitted error is far below that of the raw probability, and about that of chance.
    """
    found = calibrate(marked(1500))
    assert found.map is not None
    assert found.calibrated[ALL].ece < 0.05 < 0.1 < found.uncalibrated[ALL].ece
    assert [ALL, "d0", "d1"] == list(found.calibrated)
    fresh = marked(4000, seed=1)
    judged = quality([found.map.confidence(a.ending) for a in fresh], [a.is_right for a in fresh])
    assert judged.ece < 0.05


def test_no_answer_is_judged_by_a_map_that_saw_its_family() -> None:
    """
    A family whose answers are right against its signs does not help itself.
    """
    odd = [
        MarkedEnding(ending=ending(0.31), is_right=True, family="odd", domain="odd")
        for _ in range(200)
    ]
    found = calibrate([*marked(300), *odd])
    assert found.calibrated["odd"].bins[0].confidence < 0.5


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([], "0 answers"),
        (marked(LEAST_ANSWERS - 1), "39 answers"),
        ([a for a in marked(300) if a.is_right], "all of"),
        ([a for a in marked(300) if not a.is_right], "none of"),
        (marked(100, families=4), "fewer than 5 families"),
    ],
)
def test_too_little_evidence_makes_no_map_and_says_why(
    answers: list[MarkedEnding], why: str
) -> None:
    """
    Then the mean token probability is served, and named as what it is.
    """
    found = calibrate(answers)
    assert found.map is None
    assert why in str(found.why)
    assert UNCALIBRATED == source_of(found.map, "v0007")
    assert {} == found.calibrated


def test_an_answer_that_was_cut_refused_or_invented_is_less_sure() -> None:
    """
    The signs beside the probabilities are read.
    """
    dice = random.Random(0)
    kinds: list[dict[str, bool | int]] = [{}, {"stopped": False}, {"n_refused": 3}]
    kinds.append({"invented": True})
    answers = []
    for i in range(400):
        kind = kinds[i % 4] if i % 3 else {}
        answers.append(
            MarkedEnding(
                ending=ending(dice.uniform(0.9, 0.99), **kind),
                is_right=not kind and dice.random() < 0.95,
                family=str(i % 80),
                domain="all",
            )
        )
    found = calibrate(answers).map
    assert found is not None
    sure = found.confidence(ending(0.95))
    assert all(found.confidence(ending(0.95, **kind)) < sure for kind in kinds[1:])


def test_a_calibration_is_the_same_after_it_was_written_and_read() -> None:
    """
    The eval report and confidence.json hold it as JSON.
    """
    found = calibrate(marked(100))
    assert found == from_json(Calibration, to_json(found), source="test")
    assert found.map is not None
    assert "calibrated on 100 held-out answers of v0007" == source_of(found.map, "v0007")


def test_a_map_of_other_signs_is_not_usable() -> None:
    """
    A version of another release may have a map that reads what is not computed any more.
    """
    line = Logistic((0.0,), (1.0,), (1.0,), 0.0)
    old = ConfidenceMap(n=50, n_right=25, signs=("age",), logistic=line, isotonic=None)
    assert not old.is_usable
