"""
The tests behind the gate agree with scipy's, and with looking at every case.
"""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from finetuned.core.statistics import (
    binomial_tail,
    bootstrap_interval,
    clustered_sign_flip,
    least_items,
    lower_bound,
    mcnemar,
    sign_flip,
    student_tail,
    units_to_show,
)

differences = st.floats(-100, 100).map(lambda x: round(x, 3))


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_paired_test_is_the_exact_binomial_test(better, worse):
    """
    Items on which the models differ are fair coins at equal quality.
    """
    expected = 1.0
    if better + worse:
        expected = stats.binomtest(better, better + worse, 0.5, alternative="greater").pvalue

    assert mcnemar(better, worse) == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 400), st.integers(0, 400), st.floats(0, 1))
def test_a_binomial_tail_is_scipys(n, successes, p):
    """
    Also at the ends: more successes than trials, chances of 0 and 1.
    """
    successes = min(successes, n + 1)
    expected = stats.binom.sf(successes - 1, n, p)

    # scipy itself is off by 2e-6 of the value where that is near 1e-295.
    assert binomial_tail(successes, n, p) == pytest.approx(expected, rel=1e-7, abs=1e-290)


@given(st.integers(0, 60), st.integers(0, 60))
def test_one_more_item_gained_never_weakens_a_gain(better, worse):
    """
    Gaining an item, or not losing one, never raises the p-value.
    """
    assert mcnemar(better + 1, worse) <= mcnemar(better, worse) + 1e-12
    assert mcnemar(better, worse) <= mcnemar(better, worse + 1) + 1e-12


@pytest.mark.parametrize(
    ("passed", "n", "bound"),
    [
        (20, 20, 0.861),
        (59, 59, 0.950),
        (95, 100, 0.898),
        (98, 100, 0.938),
        (195, 200, 0.948),
        (1900, 2000, 0.941),
        (12, 25, 0.305),
    ],
)
def test_lower_bounds_are_those_of_the_table(passed, n, bound):
    """
    One-sided 95% bounds, as published beside the gates.
    """
    assert bound == round(lower_bound(passed, n), 3)


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.9, 0.95, 0.99, 0.999]))
@settings(deadline=None)
def test_the_lower_bound_is_clopper_and_pearsons(n, data, confidence):
    """
    scipy computes the same bound from the beta distribution.
    """
    k = data.draw(st.integers(0, n))
    found = stats.binomtest(k, n, alternative="greater").proportion_ci(confidence, "exact")

    assert lower_bound(k, n, confidence) == pytest.approx(found.low, abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_a_proportion_of_nothing_has_no_bound(k, n):
    """
    More successes than trials, or no trial, is a mistake of the caller.
    """
    with pytest.raises(ValueError, match="successes"):
        lower_bound(k, n)


@given(st.floats(0.01, 0.999), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
@settings(deadline=None)
def test_the_least_number_of_items_is_enough_and_one_less_is_not(threshold, confidence):
    """
    With so many items, all right, the bound reaches the threshold; with fewer it cannot.
    """
    n = least_items(threshold, confidence)

    assert lower_bound(n, n, confidence) >= threshold - 1e-9
    assert n == 1 or lower_bound(n - 1, n - 1, confidence) < threshold + 1e-9


def test_least_items_at_the_ends():
    """
    59 show 95% at 95%; nothing is needed for 0, and no number shows that nothing fails.
    """
    assert [59, 299, 14, 1] == [least_items(t) for t in (0.95, 0.99, 0.8, 0.0)]
    with pytest.raises(ValueError, match="nothing ever fails"):
        least_items(1.0)


@given(st.lists(differences, max_size=10))
def test_few_differences_are_judged_by_all_their_signs(values):
    """
    The exact p-value is the share of sign patterns that sum to at least as much.
    """
    sizes, observed = [abs(v) for v in values], math.fsum(values)
    sums = [
        math.fsum(s * v for s, v in zip(signs, sizes, strict=True))
        for signs in itertools.product((1, -1), repeat=len(sizes))
    ]

    assert sign_flip(values) == pytest.approx(sum(s >= observed - 1e-9 for s in sums) / len(sums))


@pytest.mark.parametrize("n", [5, 10, 14])
def test_the_sign_flip_is_scipys_permutation_test(n):
    """
    scipy's paired permutation test, with every permutation looked at.
    """
    values = np.random.default_rng(n).normal(0.3, 1, n)
    found = stats.permutation_test(
        (values,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
    )

    assert sign_flip(values.tolist()) == pytest.approx(found.pvalue, abs=1e-12)


@pytest.mark.parametrize("n", [15, 16, 17, 24, 60, 203])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.25])
def test_many_differences_are_judged_within_two_hundredths(n, shift):
    """
    Sums of rounded sizes come within 0.02 of what random signs give.
    """
    rng = np.random.default_rng(n)
    values = rng.normal(shift, 1, n)
    signs = np.random.default_rng(1).choice([-1.0, 1.0], (5_000, n))
    expected = np.mean(signs @ np.abs(values) >= values.sum() - 1e-9)

    assert sign_flip(values.tolist()) == pytest.approx(expected, abs=0.02)


def test_beyond_fourteen_differences_the_exact_value_is_met_too():
    """
    18 differences can still be looked at whole: 2^18 patterns.
    """
    rng = random.Random(3)
    values = [rng.gauss(0.3, 1) for _ in range(18)]
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - abs(value), sums + abs(value)])

    assert sign_flip(values) == pytest.approx(np.mean(sums >= sum(values) - 1e-9), rel=0.1)


@pytest.mark.parametrize("n", [15, 33, 100, 500])
def test_whole_differences_are_counted_exactly(n):
    """
    Of one size they are McNemar's test, however small its p-value is.
    """
    for better in (n // 2, 3 * n // 4, n):
        expected = mcnemar(better, n - better)
        found = sign_flip([1] * better + [-1] * (n - better) + [0] * 7)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-14)
        assert found >= expected * (1 - 1e-12)


@given(st.lists(differences, min_size=1, max_size=60))
@settings(deadline=None, max_examples=40)
def test_a_p_value_is_one_and_repeats_itself(values):
    """
    Above 0, at most 1, the same for the same numbers; the two tails overlap.
    """
    p, other = sign_flip(values), sign_flip([-v for v in values])

    assert 0 < p <= 1
    assert p == sign_flip(values)
    assert p + other >= 1 - 1e-9
    assert any(values) or p == 1


@pytest.mark.parametrize("values", [[], [0.0], [0.0] * 50])
def test_no_difference_shows_nothing(values):
    """
    Two equal models differ nowhere.
    """
    assert 1.0 == sign_flip(values)
    assert 1.0 == mcnemar(0, 0)


def test_the_smallest_p_values_are_those_of_all_signs_alike():
    """
    Five differences cannot show anything at 2.5%, six can.
    """
    assert [1 / 32, 1 / 64] == [sign_flip([1.0] * n) for n in (5, 6)]
    assert [1 / 32, 1 / 64] == [mcnemar(n, 0) for n in (5, 6)]
    assert 2**-40 == pytest.approx(sign_flip([1.5] * 40))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("n", [3, 40])
def test_a_difference_that_is_no_number_is_refused(bad, n):
    """
    NaN is above no sum, so it would come out as the strongest evidence there is.
    """
    with pytest.raises(ValueError, match=r"not a finite number|inf"):
        sign_flip([1.0] * n + [bad])


@pytest.mark.parametrize("n", [10, 20, 60])
def test_false_alarms_are_as_rare_as_promised(n):
    """
    Of differences of random sign at most 5% have a p-value of at most 0.05.
    """
    rng = random.Random(n)
    trials = 100
    hits = sum(sign_flip([rng.gauss(0, 1) for _ in range(n)]) <= 0.05 for _ in range(trials))

    # 13 of 100 would be seen less than twice in a thousand at 5%.
    assert hits < 13


@given(st.floats(-30, 30), st.integers(1, 25))
def test_the_tail_of_students_t_is_scipys(t, freedom):
    """
    Down to 1e-15, below which none is given.
    """
    assert student_tail(t, freedom) == pytest.approx(
        max(1e-15, stats.t.sf(t, freedom)), rel=1e-4, abs=1e-12
    )


@given(st.lists(differences, min_size=1, max_size=12))
@settings(deadline=None, max_examples=60)
def test_clusters_of_one_item_are_items(values):
    """
    And one cluster of all shows nothing at all.
    """
    assert sign_flip(values) == clustered_sign_flip(values, range(len(values)))
    assert len(values) == 1 or clustered_sign_flip(values, [0] * len(values)) == 1.0


def test_many_clusters_are_judged_by_the_signs_of_their_sums():
    """
    Beyond 20 of them: a cluster of five better items is one sign.
    """
    values, clusters = [1.0] * 100 + [-1.0] * 10, [i // 5 for i in range(110)]

    assert mcnemar(20, 2) == pytest.approx(clustered_sign_flip(values, clusters))


def test_few_clusters_are_judged_by_the_spread_of_their_sums():
    """
    Student's t, but never below what the items show one by one.
    """
    values = [1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1, 1, 1, 1, -1, 1]
    clusters = [i // 4 for i in range(16)]
    found = stats.ttest_1samp([3, 2, 3, 2], 0, alternative="greater").pvalue

    assert max(found, sign_flip(values)) == pytest.approx(clustered_sign_flip(values, clusters))
    assert sign_flip([1] * 16) == clustered_sign_flip([1] * 16, clusters)


def test_families_that_are_no_better_are_rarely_found_better():
    """
    Ten families that each moved as one, by chance: as single items a fifth of them would pass.
    """
    rng = np.random.default_rng(0)
    hits = alone = 0
    for _ in range(200):
        family = rng.integers(0, 10, 60)
        values = (rng.normal(0, 0.6, 10)[family] + rng.normal(0, 1, 60)).tolist()
        hits += clustered_sign_flip(values, family.tolist()) <= 0.05
        alone += sign_flip(values) <= 0.05

    # 20 of 200 would be seen less than three times in a thousand at 5%.
    assert hits < 20 < alone


@pytest.mark.parametrize(("mean", "spread", "level"), [(0.3, 1, 0.05), (0.5, 1, 0.001)])
def test_so_many_units_show_the_gain_four_times_in_five(mean, spread, level):
    """
    As many as were said, drawn again and again.
    """
    n = units_to_show(mean, spread, level)
    rng = np.random.default_rng(n)
    shown = [sign_flip(rng.normal(mean, spread, n).tolist()) <= level for _ in range(200)]

    assert 0.68 < sum(shown) / 200 < 0.9
    assert 5 == units_to_show(1, 0, 0.05)


def test_an_interval_by_cluster_is_that_of_its_clusters():
    """
    Ten items that always move together are one: the interval is wider.
    """
    values = ([1.0] * 10 + [0.0] * 10) * 10
    low, high = bootstrap_interval(values)
    wide = bootstrap_interval(values, [i // 10 for i in range(200)])

    assert wide[0] < low < 0.5 < high < wide[1]
    many = values * 60
    wide = bootstrap_interval(many, [i // 10 for i in range(len(many))])
    assert wide == pytest.approx((0.472, 0.528), abs=0.002)


def test_the_bootstrap_interval_is_scipys():
    """
    Percentiles of the mean of what is drawn with replacement.
    """
    values = [1.0] * 30 + [0.0] * 50 + [-1.0] * 20
    low, high = bootstrap_interval(values)
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval

    assert low == pytest.approx(found.low, abs=0.02)
    assert high == pytest.approx(found.high, abs=0.02)
    assert (low, high) == bootstrap_interval(values)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=40))
@settings(deadline=None, max_examples=30)
def test_an_interval_stays_within_what_was_seen(values):
    """
    Low is not above high, and neither is beyond the extremes.
    """
    low, high = bootstrap_interval(values, resamples=200)

    assert min(values) <= low <= high <= max(values)


def test_nothing_has_no_interval():
    """
    An interval of nothing is a mistake of the caller.
    """
    with pytest.raises(ValueError, match="no differences"):
        bootstrap_interval([])
